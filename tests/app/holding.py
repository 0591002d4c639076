"""Holds up statements of a ledger in PostgreSQL: for a kill in the middle of a commit."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LOCK: Final = 7


class Held:
    """What is held up; made by `held_up`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def waiting(self, count: int) -> bool:
        """Tell whether at least so many statements wait by now."""
        return bool(await self._connection.fetchval(f"SELECT count(*) {_WAITING}") >= count)

    async def end_waiting(self) -> None:
        """End the sessions that wait: the server does not notice that their clients are dead."""
        await self._connection.execute(f"SELECT pg_terminate_backend(pid) {_WAITING}")


@asynccontextmanager
async def held_up(url: str, what: str) -> AsyncIterator[Held]:
    """Hold up every statement of a kind ("INSERT ON withdrawals") until the block ends."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
        await connection.execute(_TRIGGER.format(what=what, lock=_LOCK))
        yield Held(connection)
    finally:
        # Its lock goes with the session.
        await connection.close()


_TRIGGER: Final = """
CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock_shared({lock});
    PERFORM pg_advisory_unlock_shared({lock});
    RETURN NEW;
END $$;
CREATE TRIGGER wait_for_the_test BEFORE {what}
FOR EACH ROW EXECUTE FUNCTION wait_for_the_test();
"""
_WAITING: Final = """
FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
