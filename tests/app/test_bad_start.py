"""Starts that cannot be: what heals is waited for, alive and not ready; what does not is an end.

Either way a sentence says what is wrong and where, once, and without a password."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.app.harness import until
from tests.app.warm import WarmCommand
from tests.ledger import second
from tests.services.postgres_node import PostgresNode, find_postgres
from worker.app import migrate_once_there
from worker.demo.ports import free_ports
from worker.ledger.migrate import migrate, require_schema

if TYPE_CHECKING:
    import pytest

    from tests.app.conftest import Start
    from tests.app.harness import WorkerProcess

PASSWORD = "hunter2-hunter2"
#: The probes of a worker that waits: alive, not ready, not started.
WAITING = [200, 503, 503]


async def test_a_shared_ledger_is_waited_for_until_it_can_be_used(
    start: Start, postgres: PostgresNode
) -> None:
    """
    No database, then one without tables, then a migrated one: the same process becomes ready.

    Nothing is migrated in passing; each of the two troubles is one line, and their end is one.
    """
    place = f"127.0.0.1:{postgres.port}/awaited"
    worker = await start(f"postgresql://postgres:{PASSWORD}@{place}")
    await _tells(worker, f"{place}: it has no such database")
    probes = [(await worker.probe(path))[0] for path in ("/livez", "/readyz", "/startupz")]
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE DATABASE awaited")
    await connection.close()
    await _tells(worker, "run `withdrawals-worker migrate`")
    await migrate(f"postgresql://postgres@{place}")
    await worker.ready()

    assert WAITING == probes
    assert ["ledger away", "ledger away", "ledger reached"] == [
        line["message"] for line in _lines(worker) if "ledger" in line
    ]
    assert PASSWORD not in worker.output


async def test_a_server_that_may_forget_is_waited_for_until_it_is_mended(
    start: Start, postgres: PostgresNode
) -> None:
    """
    With `fsync` off: alive, not ready, told in a line, and `check` says the same.

    Once it is on, the same process becomes ready.
    """
    programs = find_postgres()
    assert programs is not None
    assert postgres.port
    with (
        tempfile.TemporaryDirectory(prefix="withdrawals-") as folder,
        PostgresNode(Path(folder), programs) as node,
    ):
        url = node.create_database()
        await migrate(url)
        await _fsync(url, "off")
        worker = await start(url)
        words = f"{url.partition('@')[2]}: its fsync is off"
        await _tells(worker, words)
        probes = [(await worker.probe(path))[0] for path in ("/livez", "/readyz", "/startupz")]
        process = await WarmCommand.begun("check", environment=worker.environment)
        checked = (await process.communicate())[0].decode()
        await _fsync(url, "on")
        await worker.ready()
        await worker.kill()

    assert WAITING == probes
    assert f"FAIL ledger: {words}" in checked
    assert "is WORKER_LEDGER__URL right" not in checked
    assert ["ledger away", "ledger reached"] == [
        line["message"] for line in _lines(worker) if "ledger" in line
    ]


async def test_a_migration_waits_for_its_database(
    postgres: PostgresNode, caplog: pytest.LogCaptureFixture
) -> None:
    """
    No such database yet: one line, and it is migrated once it was made; one line that it is there.
    """
    caplog.set_level(logging.INFO, logger="worker")
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/migrated_late"
    migration = asyncio.create_task(migrate_once_there(url, wait=timedelta(minutes=10)))

    async def is_told() -> bool:
        return bool(caplog.messages) or migration.done()

    await until(is_told, lambda: "nothing was told")
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE DATABASE migrated_late")
    await connection.close()
    before, _ = await migration
    await require_schema(url)

    assert before is None
    assert ["ledger away", "ledger reached"] == [
        record.getMessage() for record in caplog.records if record.name.startswith("worker")
    ]


async def test_a_stop_ends_the_waiting(start: Start) -> None:
    """
    Nobody listens where the ledger should be: named, waited for, and 0 when told to stop.
    """
    (free,) = free_ports(1)
    worker = await start(f"postgresql://worker:{PASSWORD}@127.0.0.1:{free}/ledger")
    await _tells(worker, f"127.0.0.1:{free}/ledger: nobody listens there")

    assert 0 == await worker.end(signal.SIGTERM)
    assert PASSWORD not in worker.output


async def test_a_file_that_is_no_ledger_is_an_end(start: Start, tmp_path: Path) -> None:
    """
    No restart mends a file: exit code 1, and a line that names file, variable and reason.
    """
    (tmp_path / "photo.db").write_bytes(
        b"no database at all, but long enough to be read as one" * 99
    )
    worker = await start(f"sqlite:///{tmp_path}/photo.db")

    assert 1 == await worker.ended()
    last = _lines(worker)[-1]
    assert "critical" == last["level"]
    assert (
        f"the ledger {tmp_path}/photo.db cannot be reached: it is no SQLite database "
        "(SQLITE_NOTADB) (WORKER_LEDGER__URL)"
    ) == last["reason"]


async def test_a_refused_password_of_the_broker_is_waited_for(
    start: Start, rabbitmq_vhost: str, sqlite_url: str
) -> None:
    """
    Somebody may put it right at the broker: alive, started, not ready, and named in one line.
    """
    place = rabbitmq_vhost.partition("@")[2]
    worker = await start(sqlite_url, WORKER_RABBITMQ__URL=f"amqp://guest:{PASSWORD}@{place}")
    await _tells(worker, f"not connected to {place}: it refuses the user or the password")
    await until(lambda: _has_started(worker), lambda: worker.output)

    assert 200 == (await worker.probe("/livez"))[0]
    assert [f"{place}"] == [line["broker"] for line in _lines(worker) if "broker" in line]
    assert PASSWORD not in worker.output


async def _fsync(url: str, value: str) -> None:
    """Set it for the whole server, and wait until it counts."""
    await second.write(url, f"ALTER SYSTEM SET fsync = {value}")
    await second.write(url, "SELECT pg_reload_conf()")
    while [(value,)] != await second.read(url, "SHOW fsync"):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)


async def _tells(worker: WorkerProcess, words: str) -> None:
    """Wait until the readiness says so."""

    async def told() -> bool:
        assert worker.process.returncode is None, worker.output
        status, document = await worker.probe("/readyz")
        details = [check["detail"] for check in document.get("checks", {}).values()]
        return status == 503 and any(words in detail for detail in details)

    await until(told, lambda: f"{words}\n{worker.output}")


async def _has_started(worker: WorkerProcess) -> bool:
    return (await worker.probe("/startupz"))[0] == 200


def _lines(worker: WorkerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.output.splitlines()]
