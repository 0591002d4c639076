"""A few seeds of the fault harness; `make faults` runs as many as one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.figures import figures
from tests.faults.plan import draw
from tests.faults.run import run_all

if TYPE_CHECKING:
    from tests.services.postgres_node import PostgresNode
    from worker.demo.rabbitmq_node import Found

#: Together: both databases, a killed PostgreSQL, and keys that expire in each of the three ways.
SEEDS = (4, 10, 12, 19)


async def test_every_promise_holds(found_rabbitmq: Found, postgres: PostgresNode) -> None:
    """
    Four seeds, two at a time: nothing is paid twice, nothing lost, nothing told out of order.
    """
    assert found_rabbitmq.server.exists()
    assert postgres.url

    reports = await run_all((draw(seed) for seed in SEEDS), jobs=2)

    told = figures(reports)
    assert [] == [breach for report in reports for breach in report.verdict.breaches]
    assert list(SEEDS) == told["seeds"]
    assert 0 < sum(told["faults"].values())
