"""Commands to run, with a broker and a place for a ledger."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aio_pika
import pytest

from tests.cli.running import Commands
from worker.rabbitmq import topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process, which here is that of the other tests too."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    loggers = [root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [(logger, logger.level) for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def commands(tmp_path: Path, rabbitmq_vhost: str, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands against the shared broker and a ledger file that does not exist yet."""
    monkeypatch.chdir(tmp_path)
    return Commands(
        WORKER_RABBITMQ__URL=rabbitmq_vhost,
        WORKER_LEDGER__URL=f"sqlite:///{tmp_path / 'ledger.db'}",
        WORKER_BLUUM__API_KEY="simulator-key",
        WORKER_BLUUM__API_SECRET="simulator-secret",
        WORKER_BLUUM__BASE_URL="http://127.0.0.1:1/v1",
    )


@pytest.fixture
def declared(commands: Commands) -> Commands:
    """The same, with the broker's exchanges and queues declared."""

    async def declare() -> None:
        url = commands.environment["WORKER_RABBITMQ__URL"]
        async with await aio_pika.connect(url) as connection:
            await topology.ensure(connection, declare=True)

    asyncio.run(declare())
    return commands
