"""The SQLite ledger serves one worker, and lets others read: with real processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.ledger import second
from tests.ledger.builders import take
from worker.ledger.engine import LedgerFileUnfit, LedgerLocked, sole_worker
from worker.ledger.migrate import require_schema
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOLD: Final = """
import sys
from worker.ledger.engine import LedgerLocked, sole_worker
try:
    with sole_worker(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except LedgerLocked as locked:
    print(locked, flush=True)
"""
_READ: Final = """
import asyncio, sys
from worker.ledger.store import Ledger
async def main():
    ledger = Ledger(sys.argv[1])
    history = await ledger.history("req-1")
    await ledger.close()
    print(history.held.withdrawal.status)
asyncio.run(main())
"""


def test_a_second_worker_is_refused(tmp_path: Path) -> None:
    """
    It is told what is the matter, who the other is and what to do, and the first goes on.
    """
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with _process(url) as first:
        assert "held" == _line(first)
        with _process(url) as other:
            assert (
                f"another worker uses the ledger file {tmp_path / 'ledger.db'} "
                f"({socket.gethostname()}, process {first.pid}): a SQLite ledger serves one "
                "worker; use PostgreSQL for several replicas"
            ) == _line(other)
        assert first.poll() is None


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    """
    A worker that was killed leaves nothing that anybody has to clean up.
    """
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with _process(url) as first:
        _line(first)
        with pytest.raises(LedgerLocked), sole_worker(url):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
        with sole_worker(url), _process(url) as next_one:
            assert _line(next_one).startswith("another worker uses")


def test_the_lock_ends_with_its_context(tmp_path: Path) -> None:
    """
    An orderly stop lets the next worker in.
    """
    url = f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"
    with sole_worker(url):
        pass
    with sole_worker(url):
        pass


def test_a_link_to_the_file_leads_to_the_same_lock(tmp_path: Path) -> None:
    """
    Whoever comes by another name is refused as well.
    """
    (tmp_path / "link.db").symlink_to(tmp_path / "ledger.db")
    with (
        sole_worker(f"sqlite:///{tmp_path / 'ledger.db'}"),
        pytest.raises(LedgerLocked),
        sole_worker(f"sqlite:///{tmp_path / 'link.db'}"),
    ):
        pass


def test_where_the_disk_is_full_only_the_name_is_missing(tmp_path: Path) -> None:
    """
    A process that may not write a byte holds the file all the same, and lets it go in order.
    """
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    with _process(url, f"{full}\n{_HOLD}") as first:
        assert "held" == _line(first)
        with _process(url) as other:
            assert f"another worker uses the ledger file {tmp_path / 'ledger.db'}: a" in _line(
                other
            )
        output, _ = first.communicate()

    assert (0, "") == (first.returncode, output)


def test_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    """
    A file in place of a folder on the way there: no lock, and a sentence that names both.
    """
    taken = tmp_path / "taken"
    taken.write_text("")
    ledger = taken / "ledger.db"

    with pytest.raises(LedgerFileUnfit) as caught, sole_worker(f"sqlite:///{ledger}"):
        pass

    assert f"the ledger file {ledger} cannot be used: {taken} is not a folder" == str(caught.value)


def test_a_shared_ledger_serves_many(postgres_url: str) -> None:
    """
    On PostgreSQL nobody is locked out.
    """
    with sole_worker(postgres_url), sole_worker(postgres_url):
        pass


async def test_another_process_reads_beside_the_writer(sqlite_url: str) -> None:
    """
    Commands that read need not wait, not even while a transaction of the worker is under way.
    """
    with sole_worker(sqlite_url), closing(second.sqlite(sqlite_url)) as writer:
        async with open_ledger(sqlite_url) as ledger:
            await take(ledger, "req-1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE withdrawals SET status = 'pending'")
        await require_schema(sqlite_url)
        by_command = await asyncio.to_thread(_told_by_a_command, sqlite_url)
        by_driver = await second.read(sqlite_url, "SELECT status FROM withdrawals")
        writer.execute("ROLLBACK")

    assert "received\n" == by_command
    assert [("received",)] == by_driver


async def test_every_commit_is_durable(sqlite_url: str) -> None:
    """
    The write-ahead log and a full fsync at each commit are set on the connection that writes.

    Where a file system has no such log, the folder is synchronised as well.
    """
    with second.connections_made() as made:
        async with open_ledger(sqlite_url) as ledger:
            await ledger.leave()
            [writer] = made
            found = [
                writer.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]

    # 3 is EXTRA.
    assert ["wal", 3, 1] == found


@contextmanager
def _process(url: str, program: str = _HOLD) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the ledger's lock, if it gets it, until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", program, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _told_by_a_command(url: str) -> str:
    command = [sys.executable, "-c", _READ, url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
