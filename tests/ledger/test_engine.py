"""Addresses of ledgers, and what is told when one is wrong or does not answer: never a secret."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.ledger.builders import FINGERPRINT, an_order, moved, take, taken_in
from worker.core.withdrawal import Status
from worker.demo.ports import free_ports
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.engine import LedgerAddressInvalid, address, is_sqlite, place, why_unfit
from worker.ledger.migrate import migrate, require_schema
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.ledger.store import Ledger

_PASSWORD: Final = "hunter2"
_SECRET: Final = "DE02120300000000202051"


@pytest.mark.parametrize(
    ("url", "database", "embedded"),
    [
        ("sqlite:///withdrawals.db", "withdrawals.db", True),
        ("sqlite:////data/withdrawals.db", "/data/withdrawals.db", True),
        ("postgresql://worker:secret@db.internal:5433/payouts", "payouts", False),
        ("postgresql://db/payouts?sslmode=verify-full", "payouts", False),
    ],
)
def test_a_ledger_is_a_file_or_a_server(url: str, database: str, *, embedded: bool) -> None:
    """
    A URL names the one or the other.
    """
    assert database == address(url).database
    assert embedded == is_sqlite(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////data/withdrawals.db", "/data/withdrawals.db"),
        (f"postgresql://worker:{_PASSWORD}@db.internal:5433/payouts", "db.internal:5433/payouts"),
        (f"postgresql://worker:{_PASSWORD}@db/payouts?password={_PASSWORD}", "db:5432/payouts"),
    ],
)
def test_a_place_is_told_without_the_password(url: str, told: str) -> None:
    """
    Enough to recognise it by: a file, or host, port and database.
    """
    assert told == place(url)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("ledger.db", None),
        ("to/be/made/ledger.db", None),
        ("a-file/ledger.db", "{0}/a-file is not a folder"),
        ("a-file/in/ledger.db", "{0}/a-file is not a folder"),
        ("a-file", None),
        (".", "{0} is a folder"),
    ],
)
def test_a_file_that_could_not_be_made_is_told_beforehand(
    tmp_path: Path, path: str, why: str | None
) -> None:
    """
    Nothing is made by looking.
    """
    (tmp_path / "a-file").write_text("")

    assert (why and why.format(tmp_path)) == why_unfit(f"sqlite:///{tmp_path / path}")
    assert [tmp_path / "a-file"] == list(tmp_path.iterdir())


def test_a_missing_right_is_told_beforehand() -> None:
    """
    No right to the file, to the folder that it or what lies beside it would be in, or to look.
    """
    # Not below pytest's own folder: that one is closed to anybody but root.
    with tempfile.TemporaryDirectory(prefix="withdrawals-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for inner in ("full", "closed", "open"):
            (folder / inner).mkdir()
        for file in ("full/ledger.db", "closed/ledger.db", "open/ledger.db"):
            (folder / file).write_text("")
        # The folder counts here: to this file anybody may write.
        (folder / "full/ledger.db").chmod(0o666)
        (folder / "open/ledger.db").chmod(0o444)
        (folder / "full").chmod(0o555)
        (folder / "closed").chmod(0o000)
        files = ["full/new.db", "full/ledger.db", "closed/ledger.db", "open/ledger.db"]
        told = _unprivileged(f"sqlite:///{folder / file}" for file in files)

    assert [
        f"nothing can be made in {folder}/full",
        f"nothing can be made in {folder}/full",
        f"nothing can be made in {folder}/closed",
        f"{folder}/open/ledger.db cannot be written to",
    ] == told


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"mysql://worker:{_PASSWORD}@db/payouts",
        f"postgres://worker:{_PASSWORD}@db/payouts",
        f"postgresql+psycopg://worker:{_PASSWORD}@db/payouts",
        f"postgresql://worker:{_PASSWORD}@db:{_PASSWORD}/payouts",
        "sqlite+aiosqlite:///withdrawals.db",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    """
    The sentence says what is expected; of the address, which may hold a password, it says nothing.
    """
    with pytest.raises(LedgerAddressInvalid) as caught:
        address(url)

    assert "expected sqlite:///path or postgresql://user:password@host/database" == str(
        caught.value
    )
    assert _PASSWORD not in _printed(caught.value)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    """
    It would forget what was paid, and pay it again.
    """
    with pytest.raises(LedgerAddressInvalid, match="forget"):
        address(url)


@pytest.mark.parametrize("option", ["sslmode=disable", "application_name=payouts"])
async def test_options_of_the_server_are_understood(postgres_url: str, option: str) -> None:
    """
    What other programs write behind the question mark works here as well.
    """
    await require_schema(f"{postgres_url}?{option}")


async def test_options_are_not_ignored(postgres_url: str) -> None:
    """
    Who asks for encryption does not get a connection without.
    """
    with pytest.raises(LedgerUnavailable):
        await require_schema(f"{postgres_url}?sslmode=require")


async def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    """
    Neither in the sentence nor in what led to it.
    """
    (port,) = free_ports(1)
    url = f"postgresql://worker:{_PASSWORD}@127.0.0.1:{port}/payouts"
    async with open_ledger(url) as ledger:
        for ask in (ledger.check, ledger.heartbeat, ledger.leave):
            with pytest.raises(LedgerUnavailable) as caught:
                await ask()
            assert "ConnectionRefusedError" == str(caught.value)
            assert _PASSWORD not in _printed(caught.value)
    with pytest.raises(LedgerUnavailable) as caught:
        await migrate(url)
    assert _PASSWORD not in _printed(caught.value)


async def test_refused_content_is_not_repeated(ledger: Ledger) -> None:
    """
    What a database says of a duplicate quotes it; what we say does not.
    """
    for message_id in ("req-1", "req-2"):
        held = await take(ledger, message_id)
        decision = moved(held, Status.PENDING, withdrawal_id=_SECRET)
        if message_id == "req-1":
            await ledger.record(held, decision)
            continue
        with pytest.raises(StepRefused) as caught:
            await ledger.record(held, decision)
        assert _SECRET not in _printed(caught.value)


async def test_content_that_cannot_be_written_is_not_repeated(ledger: Ledger) -> None:
    """
    Nor what a driver says of a value that it cannot encode.
    """
    unwritable = _SECRET + "\ud800"
    with pytest.raises(StepRefused) as taken:
        await ledger.take(taken_in(an_order(target_id=unwritable)), FINGERPRINT)
    with pytest.raises(StepRefused) as asked:
        await ledger.owned_by_others("bluum", [unwritable], row=1)

    assert _SECRET not in _printed(taken.value)
    assert _SECRET not in _printed(asked.value)


async def test_a_table_that_is_missing_is_told_without_parameters(ledger_url: str) -> None:
    """
    A ledger that was never migrated is away; the statement and its values stay inside.
    """
    async with open_ledger(ledger_url) as ledger:
        with pytest.raises(LedgerUnavailable) as taken:
            await ledger.take(taken_in(an_order(target_id=_SECRET)), FINGERPRINT)
        with pytest.raises(LedgerUnavailable) as asked:
            await ledger.history(_SECRET)

    assert _SECRET not in _printed(taken.value)
    assert _SECRET not in _printed(asked.value)


def _printed(error: BaseException) -> str:
    """The error as a log would show it, with all that led to it."""
    return "".join(traceback.format_exception(error))


def _unprivileged(urls: Iterable[str]) -> list[str]:
    """Ask why the files are unfit, in a process that may not do everything, as root may."""
    script = (
        "import os, sys\n"
        "from worker.ledger.engine import why_unfit\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([])\n"
        "    os.setuid(65534)\n"
        "for url in sys.argv[1:]:\n"
        "    print(why_unfit(url))\n"
    )
    command = [sys.executable, "-c", script, *urls]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (asked.returncode, asked.stderr)
    return asked.stdout.splitlines()
