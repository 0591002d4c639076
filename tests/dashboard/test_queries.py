"""Every query of the dashboard on a real Prometheus that watched a real worker, and what it shows.

One run serves all tests here: everything that a panel shows happens in it once."""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.app.harness import until
from tests.dashboard.grafana import Dashboard, Query, View, queries
from tests.dashboard.scene import Course, a_scene
from tests.services.prometheus_node import (
    HOW_TO_GET_PROMETHEUS,
    PrometheusNode,
    Target,
    find_prometheus,
)
from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.dashboard.scene import Scene
    from tests.services.vhosts import Vhosts
    from worker.demo.rabbitmq_node import RabbitmqNode

RULES: Final = Path(__file__).parents[2] / "config" / "prometheus" / "alerts.yaml"
DASHBOARD: Final = Dashboard.load()
GRAPHS: Final = {panel["title"]: panel for panel in DASHBOARD.graphs}

_SCRAPED: Final = timedelta(seconds=1)
_SCRAPES: Final = 3
#: The same worker three times, as in Kubernetes with two replicas, and as outside of it.
_PODS: Final[tuple[dict[str, str], ...]] = (
    {"namespace": "payments", "pod": "worker-0"},
    {"namespace": "payments", "pod": "worker-1"},
    {},
)
_KUBERNETES: Final = {"namespace": ["payments"], "pod": ["worker-0", "worker-1"]}
_OUTSIDE: Final = {"namespace": [""], "pod": [""]}
#: Each series has been scraped.
_SEEN: Final = "count(withdrawals_build_info) == 3"
#: What has to have happened when the run ends; of the ledger's gauges, wherever it is scraped.
_HAPPENED: Final = (
    "sum(withdrawals_unresolved) == 3",
    'count(withdrawals_in_flight{status="awaiting_funds"} == 1) == 3',
    'withdrawals_oldest_in_flight_seconds{status="received"} > 0',
    "sum(withdrawals_reconciliation_differences) > 0",
    "sum(withdrawals_provider_unknown_status_total) > 0",
    "withdrawals_provider_retries_total",
    'withdrawals_webhooks_total{result="forged"}',
    'withdrawals_webhooks_total{result="heard"}',
    'withdrawals_cancellations_total{result="unknown_request"}',
    'withdrawals_requests_total{result="duplicate"}',
    'withdrawals_transitions_total{status="completed"}',
    'count(ALERTS{alertname="WithdrawalUnresolved",alertstate="firing"}) == 2',
)
#: After it an expression says what is shown where there is nothing: 0, while a worker is there.
_OTHERWISE: Final = " or on() "


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over: Prometheus with what it saw, and the time of it."""

    prometheus: PrometheusNode
    start: float
    end: float

    def view(self, **chosen: list[str]) -> View:
        """Return a view of the whole run."""
        shown = timedelta(seconds=self.end - self.start)
        return View(chosen, shown=shown, interval=_SCRAPED, scraped=_SCRAPED)

    def ask(self, expression: str, view: View) -> str:
        """Return an expression as it is asked in a view."""
        return DASHBOARD.interpolate(expression, view)

    def values(self, expression: str, query: Query, view: View) -> list[float]:
        """Return all numbers that an expression shows, over time unless the query is instant.

        Infinite ones and those that are none are left out.
        """
        asked = self.ask(expression, view)
        if query.instant:
            texts = [row["value"][1] for row in self.prometheus.query(asked, at=self.end)]
        else:
            rows = self.prometheus.query_range(
                asked, start=self.start, end=self.end, step=view.interval.total_seconds()
            )
            texts = [text for row in rows for _, text in row["values"]]
        return [value for value in map(float, texts) if math.isfinite(value)]


@pytest.fixture(scope="module")
def run(
    rabbitmq: RabbitmqNode, _vhosts: Vhosts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """A run in which all that is ever shown has happened."""
    program = find_prometheus()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(HOW_TO_GET_PROMETHEUS)
        pytest.skip(HOW_TO_GET_PROMETHEUS)
    folder = tmp_path_factory.mktemp("dashboard")
    (port,) = free_ports(1)
    targets = [Target(port, labels) for labels in _PODS]
    node = PrometheusNode(folder, program, targets=targets, rules=[RULES], interval=_SCRAPED)
    with node as prometheus:
        start = time.time()
        vhost = _vhosts.take()
        end = asyncio.run(_live(prometheus, folder, f"{rabbitmq.url}{vhost}", port))
        _vhosts.give_back(vhost)
        yield Run(prometheus, start, end)


async def _live(prometheus: PrometheusNode, folder: Path, amqp: str, port: int) -> float:
    """Let everything happen; return when it had, while the worker was still there."""
    course = Course(
        pace=timedelta(seconds=0.5), latency=timedelta(milliseconds=20), rate_limit=0, settings={}
    )
    ledger = f"sqlite:///{folder / 'ledger.db'}"
    async with a_scene(folder, amqp=amqp, ledger=ledger, ports=[port], course=course) as scene:
        # What grew before it was first seen did not grow for Prometheus.
        await _until(prometheus, [_SEEN], scene)
        await _happen(scene)
        await _until(prometheus, _HAPPENED, scene)
        return await _whole(prometheus, scene)


async def _happen(scene: Scene) -> None:
    """Ask for everything that a panel may show."""
    await scene.leave_in_doubt()
    # Its calls fail as well; nothing is like it in the list, so it waits.
    await scene.ask("bluum_accounts")
    scene.trouble("bluum", error_before=0.3, unknown_status=0.3)
    await scene.cancel("nobody-knows")
    await scene.forge()
    await scene.send("malformed", b"{")
    await scene.ask("bluum", amount=5.0)
    await scene.ask("bluum", "too poor", wait_for_funds_until="2099-12-31T00:00:00Z")
    for special in ("too poor", "fails at the bank"):
        await scene.ask("bluum", special)
    for _ in range(3):
        for provider in ("bluum", "upvest"):
            await scene.cancel(await scene.ask(provider))
            await scene.ask(provider)
    await scene.ask("bluum", times=2)


async def _until(prometheus: PrometheusNode, expected: Sequence[str], scene: Scene) -> None:
    """Wait until each expression had an answer some scrapes ago, so that there is a rate by now."""
    missing = list(expected)

    async def nothing_missing() -> bool:
        at = time.time() - _SCRAPES * _SCRAPED.total_seconds()
        missing[:] = [asked for asked in missing if not prometheus.query(asked, at=at)]
        return not missing

    await until(nothing_missing, lambda: f"{missing}\n{scene.workers[0].output}")


async def _whole(prometheus: PrometheusNode, scene: Scene) -> float:
    """Return a moment from now on at which all were scraped: on a busy machine one may be late."""
    now = at = time.time()

    async def all_seen() -> bool:
        nonlocal at
        # Long enough ago for a scrape that had begun by then to have failed.
        at = time.time() - 2 * _SCRAPED.total_seconds()
        return at > now and bool(prometheus.query(_SEEN, at=at))

    await until(all_seen, lambda: scene.workers[0].output)
    return at


# Few tests: each process of a parallel run that has one of them makes a run of its own.


def test_every_query_returns_data(run: Run) -> None:
    """
    Whatever is chosen, in Kubernetes and where no series has namespace or pod.
    """
    empty = [
        (name, title, query.expression)
        for name, view in _views(run).items()
        for title, panel in GRAPHS.items()
        for query in queries(panel)
        # Without the 0 that stands in for what did not happen: it did.
        if not run.values(query.expression.partition(_OTHERWISE)[0], query, view)
    ]

    assert [] == empty


def test_replicas_show_one_ledger(run: Run) -> None:
    """
    What two of them tell of it is not added up: one is unresolved, one waits for funds.
    """
    view = run.view(**_KUBERNETES)
    shown = {
        (title, row["metric"].get("status")): float(row["value"][1])
        for title in ("Unresolved", "Unfinished by status")
        for query in queries(GRAPHS[title])
        for row in run.prometheus.query(run.ask(query.expression, view), at=run.end)
    }

    assert 1 == shown["Unresolved", None]
    assert 1 == shown["Unfinished by status", "awaiting_funds"]
    assert 1 == shown["Unfinished by status", "unresolved"]


def test_every_variable_offers_what_there_is(run: Run) -> None:
    """
    By a query of its own; the others are no queries.
    """
    offered = {
        name: run.prometheus.label_values(*DASHBOARD.values_query(name, run.view()))
        for name, variable in DASHBOARD.variables.items()
        if variable["type"] == "query"
    }
    expected = {
        "namespace": ["payments"],
        "job": ["withdrawals-worker"],
        "provider": ["bluum", "bluum_accounts", "upvest"],
        "pod": ["worker-0", "worker-1"],
    }

    assert expected == offered


def test_starts_and_alerts_are_marked(run: Run) -> None:
    """
    The start with its release, at its own time in milliseconds, and each alert while it fires.
    """
    for name, view in _views(run).items():
        starts, alerts = (
            run.prometheus.query(run.ask(mark["expr"], view), at=run.end)
            for mark in DASHBOARD.annotations
        )
        times = [float(start["value"][1]) / 1000 for start in starts]

        assert {"all": 3, "pods": 2, "no pods": 1}[name] == len(times)
        assert {version("withdrawals-worker")} == {start["metric"]["version"] for start in starts}
        # The kernel tells the time of its own start in whole seconds.
        assert all(run.start - 1 < at < run.end for at in times)
        assert "WithdrawalUnresolved" in {alert["metric"]["alertname"] for alert in alerts}


def _views(run: Run) -> dict[str, View]:
    """Return what may be chosen: nothing, both pods, and what stands for a worker without one."""
    chosen = {"all": {}, "pods": _KUBERNETES, "no pods": _OUTSIDE}
    return {name: run.view(**values) for name, values in chosen.items()}
