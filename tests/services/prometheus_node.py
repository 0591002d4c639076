"""A Prometheus of one's own for the tests: loopback only, in a folder of its own.

No server that is there already is asked or touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from tests.no_tls import NO_TLS
from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

#: Said to a person when there is none to start.
HOW_TO_GET_PROMETHEUS: Final = "prometheus is missing: tests/services/install.sh installs it"

_START_SECONDS_MAX: Final = 60.0
_STOP_SECONDS_MAX: Final = 20.0
_ANSWER_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_LOG_TAIL_LINES: Final = 10


def find_prometheus() -> Path | None:
    """The program, or None."""
    found = shutil.which("prometheus")
    return None if found is None else Path(found)


class PrometheusFailed(Exception):  # noqa: N818 - named by what happened
    """The server did not come up, or refused a query; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Target:
    """A metrics page on loopback; its series get `labels` beside `job` and `instance`."""

    port: int
    labels: Mapping[str, str]


class PrometheusNode:
    """One server that scrapes these targets and evaluates these rule files, both every `interval`.

    As a context it is started, and ended with its data left in the folder.
    """

    def __init__(
        self,
        folder: Path,
        program: Path,
        *,
        targets: Sequence[Target],
        rules: Sequence[Path] = (),
        interval: timedelta,
    ) -> None:
        (self.port,) = free_ports(1)
        self.interval = interval
        self._folder = folder
        self._program = program
        self._targets = targets
        self._rules = rules
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            trust_env=False,
            verify=NO_TLS,
            timeout=_ANSWER_SECONDS_MAX,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server; it answers then."""
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "prometheus.yml"
        # JSON is YAML.
        configuration.write_text(json.dumps(self._configuration()), "utf-8")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._await()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """Return the series of an expression at one moment (unix time; now). PrometheusFailed."""
        moment = {} if at is None else {"time": str(at)}
        return self._result("query", {"query": expression, **moment})

    def query_range(
        self, expression: str, *, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, a value every `step` seconds."""
        times = {"start": str(start), "end": str(end), "step": str(step)}
        return self._result("query_range", {"query": expression, **times})

    def label_values(self, label: str, match: str) -> list[str]:
        """Return the values that a label has in the series that a selector matches."""
        answer = self._ask(f"label/{label}/values", {"match[]": match})
        return [str(value) for value in answer]

    def _result(self, call: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = self._ask(call, asked)
        result = answer["result"]
        # A number alone is one series without labels.
        return [{"metric": {}, "value": result}] if answer["resultType"] == "scalar" else result

    def _ask(self, call: str, asked: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
        document = self._client.get(f"/api/v1/{call}", params=asked).json()
        if document["status"] != "success":
            raise PrometheusFailed(f"{document.get('error')}, asked: {asked}")
        return document["data"]

    @property
    def _log(self) -> Path:
        return self._folder / "prometheus.log"

    def _configuration(self) -> dict[str, Any]:
        interval = f"{round(self.interval.total_seconds() * 1000)}ms"
        return {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path) for path in self._rules],
            "scrape_configs": [
                {
                    "job_name": "withdrawals-worker",
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{each.port}"], "labels": dict(each.labels)}
                        for each in self._targets
                    ],
                }
            ],
        }

    def _await(self) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if self._client.get("/-/ready").status_code == HTTPStatus.OK:
                    return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(_PAUSE_SECONDS)
        said = self._log.read_text("utf-8", "replace").splitlines()[-_LOG_TAIL_LINES:]
        raise PrometheusFailed("\n".join(["Prometheus does not come up:", *said]))
