"""The picture of the dashboard: `python -m tests.dashboard.picture [docs/dashboard.png]`.

Runs two replicas on PostgreSQL through a bad day of some minutes, watched by a real Prometheus, and
asks that every query of the dashboard as Grafana would. The drawing itself stands in `drawing`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.dashboard.answers import Mark, Series, Shown
from tests.dashboard.day import COURSE, a_day
from tests.dashboard.grafana import Dashboard, Query, View, queries
from tests.dashboard.scene import a_scene
from tests.services.postgres_node import BRISK, PostgresNode, brisk_folder, find_postgres
from tests.services.prometheus_node import PrometheusNode, Target, find_prometheus
from worker.demo.ports import free_ports
from worker.demo.rabbitmq_node import RabbitmqNode, find_rabbitmq
from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.dashboard.scene import Scene

_ROOT: Final = Path(__file__).parents[2]
_RULES: Final = _ROOT / "config" / "prometheus" / "alerts.yaml"
_NAMESPACE: Final = "payments"
_PODS: Final = ("withdrawals-worker-7d9c6-4kq2x", "withdrawals-worker-7d9c6-w8b5r")
_SCRAPED: Final = timedelta(seconds=2)
#: For so long before the beginning nothing is shown: rates need a while.
_LEAD: Final = 12.0


def main() -> None:
    """Run, ask and draw."""
    options = _options()
    dashboard = Dashboard.load()
    with tempfile.TemporaryDirectory() as folder:
        shown = watch(dashboard, Path(folder), timedelta(minutes=options.minutes))
    # It takes a second to load, and only this command draws.
    from tests.dashboard.drawing import draw  # noqa: PLC0415

    draw(dashboard, shown, options.path)


def watch(dashboard: Dashboard, folder: Path, length: timedelta) -> Shown:
    """Run the day, and return what the dashboard shows at its end."""
    ports = free_ports(len(_PODS))
    with _ground(folder) as (amqp, ledger, prometheus):
        targets = [
            Target(port, {"namespace": _NAMESPACE, "pod": pod})
            for port, pod in zip(ports, _PODS, strict=True)
        ]
        node = PrometheusNode(
            folder / "prometheus", prometheus, targets=targets, rules=[_RULES], interval=_SCRAPED
        )
        asyncio.run(migrate(ledger))
        scene = a_scene(
            folder, amqp=amqp, ledger=ledger, ports=ports, course=COURSE, program="worker"
        )
        with node:
            begun, ended = asyncio.run(_live(scene, length))
            return _Asking(dashboard, node, begun + _LEAD, ended).everything()


async def _live(
    scene: AbstractAsyncContextManager[Scene], length: timedelta
) -> tuple[float, float]:
    """Live through the day; return when it began and ended."""
    async with scene as running:
        begun = time.time()
        await a_day(running, length)
        return begun, time.time()


class _Asking:
    """Asks for all that a dashboard shows of a time, every replica and provider chosen."""

    def __init__(
        self, dashboard: Dashboard, prometheus: PrometheusNode, start: float, end: float
    ) -> None:
        self._dashboard = dashboard
        self._prometheus = prometheus
        self._start, self._end = start, end
        shown = timedelta(seconds=end - start)
        self._view = View({}, shown=shown, interval=_SCRAPED, scraped=_SCRAPED)

    def everything(self) -> Shown:
        """Return it."""
        return Shown(
            start=self._start,
            end=self._end,
            step=_SCRAPED.total_seconds(),
            series={
                panel["id"]: [each for query in queries(panel) for each in self._series(query)]
                for panel in self._dashboard.graphs
            },
            marks=[mark for each in self._dashboard.annotations for mark in self._marks(each)],
            chosen={"namespace": "All", "job": "All", "provider": "All", "pod": "All"},
        )

    def _series(self, query: Query) -> Iterator[Series]:
        asked = self._dashboard.interpolate(query.expression, self._view)
        if query.instant:
            for row in self._prometheus.query(asked, at=self._end):
                yield Series(query.name_of(row["metric"]), row["metric"], [_point(row["value"])])
            return
        for row in self._range(asked):
            points = [_point(value) for value in row["values"]]
            yield Series(query.name_of(row["metric"]), row["metric"], points)

    def _marks(self, annotation: Mapping[str, Any]) -> Iterator[Mark]:
        expression = self._dashboard.interpolate(annotation["expr"], self._view)
        for row in self._range(expression):
            points = [_point(value) for value in row["values"]]
            # What is told by its value begins anew with each, anything else once.
            told = {value / 1000 for _, value in points}
            for at in told if annotation["useValueForTime"] else {points[0][0]}:
                if at > self._start:
                    yield Mark(annotation["name"], at, annotation["iconColor"])

    def _range(self, expression: str) -> list[dict[str, Any]]:
        return self._prometheus.query_range(
            expression, start=self._start, end=self._end, step=_SCRAPED.total_seconds()
        )


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    at, value = pair
    return float(at), float(value)


@contextmanager
def _ground(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Start a broker and a database; give their addresses and the program of Prometheus."""
    rabbitmq, postgres, prometheus = find_rabbitmq(), find_postgres(), find_prometheus()
    if rabbitmq is None or postgres is None or prometheus is None:
        sys.exit("RabbitMQ, PostgreSQL and Prometheus are needed: tests/services/install.sh")
    with ExitStack() as stack:
        broker = stack.enter_context(RabbitmqNode(folder / "rabbitmq", rabbitmq))
        # Not below the folder: that one is closed to the user the server runs as.
        data = stack.enter_context(brisk_folder())
        server = stack.enter_context(PostgresNode(data, postgres, settings=BRISK))
        yield broker.url, server.create_database(), prometheus


@dataclass(frozen=True, slots=True)
class _Options:
    path: Path
    minutes: float


def _options() -> _Options:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", nargs="?", type=Path, default=_ROOT / "docs" / "dashboard.png")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long the day is (8)")
    given = parser.parse_args()
    return _Options(given.path, given.minutes)


if __name__ == "__main__":
    main()
