"""Probes and metrics as they are served, over real HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.no_tls import NO_TLS
from worker.http.health import STUCK_SECONDS, Health
from worker.http.probes import serve_probes
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Contract section 9.
NAMES = {
    "withdrawals_requests",
    "withdrawals_transitions",
    "withdrawals_amount",
    "withdrawals_in_flight",
    "withdrawals_oldest_in_flight_seconds",
    "withdrawals_provider_request_duration_seconds",
    "withdrawals_provider_retries",
    "withdrawals_rate_limit_wait_seconds",
    "withdrawals_events_published",
    "withdrawals_events_unpublished",
    "withdrawals_webhooks",
    "withdrawals_dead_letters",
    "withdrawals_unresolved",
    "withdrawals_ledger_commit_duration_seconds",
    "withdrawals_consumer_up",
    "withdrawals_build_info",
}


@asynccontextmanager
async def probing(
    health: Health, metrics: Metrics | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve, and give a client of it."""
    registry = (metrics or Metrics(version="0")).registry
    async with (
        serve_probes(health, registry, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=NO_TLS
        ) as client,
    ):
        yield client


async def test_each_probe_answers_its_own_question() -> None:
    """
    Alive from the first moment, started and ready when it is said; 200 or 503.
    """
    health = Health()
    report = health.reporter("ledger")
    async with probing(health) as client:

        async def asked() -> list[int]:
            return [
                (await client.get(path)).status_code for path in ("/livez", "/startupz", "/readyz")
            ]

        begun = await asked()
        health.started()
        started = await asked()
        report(True, "answering")
        ready = await asked()
        report(False, "away")
        away = await asked()

    assert [200, 503, 503] == begun
    assert [200, 200, 503] == started
    assert [200, 200, 200] == ready
    assert [200, 200, 503] == away


async def test_a_stuck_loop_fails_the_liveness_probe() -> None:
    """
    And the answer names the loop.
    """
    seconds = [0.0]
    health = Health(clock=lambda: seconds[0])
    health.pulse("follow")
    seconds[0] += STUCK_SECONDS
    async with probing(health) as client:
        response = await client.get("/livez")

    assert 503 == response.status_code
    assert {
        "status": "failing",
        "checks": {
            "event loop": {"status": "ok", "detail": "0.000 s late", "age_seconds": 90.0},
            "follow": {"status": "failing", "detail": "last seen 90.0 s ago", "age_seconds": 90.0},
        },
    } == response.json()


async def test_each_check_tells_its_state_and_age() -> None:
    """
    JSON with all checks, those that hold too.
    """
    seconds = [0.0]
    health = Health(clock=lambda: seconds[0])
    health.reporter("credentials")(False, "refused by bluum")
    seconds[0] += 1.2345
    health.started()
    async with probing(health) as client:
        response = await client.get("/readyz")

    assert "application/json; charset=utf-8" == response.headers["Content-Type"]
    assert {
        "status": "failing",
        "checks": {
            "startup": {"status": "ok", "detail": "done", "age_seconds": 0.0},
            "credentials": {
                "status": "failing",
                "detail": "refused by bluum",
                "age_seconds": 1.234,
            },
        },
    } == response.json()


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez/", "/metrics/x", "/%00"])
async def test_nothing_else_is_served(path: str) -> None:
    """
    404 for every other path.
    """
    async with probing(Health()) as client:
        assert 404 == (await client.get(path)).status_code


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_there_is_nothing_to_change(method: str, path: str) -> None:
    """
    405 for whatever does not merely read.
    """
    async with probing(Health()) as client:
        assert 405 == (await client.request(method, path, content=b"x")).status_code


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    """
    In Prometheus' own text by default, and every name of the contract is there.
    """
    async with probing(Health()) as client:
        response = await client.get("/metrics")
    families = {family.name for family in read_text(response.text)}

    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert NAMES <= families
    assert "process_cpu_seconds" in families


async def test_metrics_are_served_as_openmetrics() -> None:
    """
    For whoever says that it reads it.
    """
    accept = "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.5"
    async with probing(Health()) as client:
        response = await client.get("/metrics", headers={"Accept": accept})
    # The parser knows that the name of a gauge called info ends in _info.
    read = read_openmetrics(response.text)  # type: ignore[no-untyped-call]
    families = {family.name for family in read}

    assert response.headers["Content-Type"].startswith(
        "application/openmetrics-text; version=1.0.0"
    )
    assert NAMES <= families
    assert response.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "",
        "application/json",
        "text/plain; version=x",
        "application/openmetrics-text; version=x",
    ],
)
async def test_an_odd_wish_is_answered_in_plain_text(accept: str) -> None:
    """
    A scraper that asks for nonsense still gets the numbers.
    """
    async with probing(Health()) as client:
        response = await client.get("/metrics", headers={"Accept": accept})

    assert 200 == response.status_code
    assert NAMES <= {family.name for family in read_text(response.text)}


async def test_nothing_says_when_a_series_was_created() -> None:
    """
    The library's `_created` series would double the number of series, and nobody asked for them.
    """
    metrics = Metrics(version="0")
    metrics.request("bluum", "taken")
    metrics.called("bluum", "create", "2xx", 0.1)
    async with probing(Health(), metrics) as client:
        texts = [
            (await client.get("/metrics", headers={"Accept": accept})).text
            for accept in ("text/plain", "application/openmetrics-text; version=1.0.0")
        ]

    assert [1, 1] == [
        text.count('requests_total{provider="bluum",result="taken"} 1.0') for text in texts
    ]
    assert [] == [text for text in texts if "_created" in text]


async def test_a_taken_port_is_an_error() -> None:
    """
    Whoever starts it hears that the port is taken.
    """
    health, registry = Health(), Metrics(version="0").registry
    async with serve_probes(health, registry, host="127.0.0.1", port=0) as port:
        with pytest.raises(OSError, match="address already in use"):
            async with serve_probes(health, registry, host="127.0.0.1", port=port):
                pytest.fail("two servers on one port")
