"""Statements compiled once for all ledgers of a process, as in a worker that has run for a while.

Every test opens a ledger of its own, and each engine would compile every statement anew: a third
of what a run of a few dozen steps costs. What the statements are and do stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import Dialect

#: What is compiled is kept under its dialect, and each engine brings one of its own.
_DIALECTS: Final[dict[str, Dialect]] = {}
_COMPILED: Final[dict[Any, Any]] = {}


def compile_once() -> None:
    """Let all engines that this process will make share what is compiled."""
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    connection.dialect = _DIALECTS.setdefault(connection.dialect.name, connection.dialect)
    connection.execution_options(compiled_cache=_COMPILED)
