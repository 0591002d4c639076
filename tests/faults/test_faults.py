"""A few seeds of the fault harness; `make faults` runs as many as one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.figures import figures
from tests.faults.plan import draw
from tests.faults.run import run_all

if TYPE_CHECKING:
    from tests.services.postgres_node import PostgresNode
    from worker.demo.rabbitmq_node import Found

#: Together: both databases, a killed PostgreSQL, keys that expire in each of the three ways, tokens
#: that are revoked, and webhooks signed with another key.
SEEDS = {"bluum": 33, "bluum_accounts": 53, "upvest": 3}


async def test_every_promise_holds(found_rabbitmq: Found, postgres: PostgresNode) -> None:
    """
    A seed of each provider: nothing is paid twice, nothing lost, nothing told out of order.

    Every line of the workers' logs is one JSON object without anything private, and every end that
    was announced stands in them by the ids of its request and its trace.
    """
    assert found_rabbitmq.server.exists()
    assert postgres.url

    plans = [draw(seed, provider=provider) for provider, seed in SEEDS.items()]
    reports = await run_all(plans, jobs=2)

    told = figures(reports)
    assert [] == [breach for report in reports for breach in report.verdict.breaches]
    assert list(SEEDS) == list(told["providers"])
    assert 0 < sum(told["faults"].values())
