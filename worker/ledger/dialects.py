"""Where SQLite and PostgreSQL are written to with different words of SQLAlchemy's.

What they read and hold differently is not here, but where it is read and held."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.dialects import postgresql, sqlite

#: `insert` by dialect, for what follows on a conflict. They look alike and share no type.
INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
