"""Spans: whose trace they are of, what they tell, and that nobody waits for who collects them."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.app.collector import a_collector
from tests.core.builders import a_pending, an_order
from worker.app.traces import TracingUnfit, open_journeys
from worker.core.messages import DeadReason, Envelope
from worker.flows.journey import ids
from worker.flows.settlement import ACCEPT, Bury, Return
from worker.tracing import Exporting, Tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from worker.core.withdrawal import Withdrawal
    from worker.flows.settlement import Settlement

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
OTHER: Final = "1bf7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"

#: Runs without traces, and then with them where OpenTelemetry cannot be imported.
_WITHOUT: Final = """
import asyncio, contextlib, sys
import worker.app
from worker.app.traces import open_journeys
from worker.cli import main

async def opened():
    async with contextlib.AsyncExitStack() as stack:
        return await open_journeys(stack, enabled=False, version="0")

asyncio.run(opened())
print([name for name in sys.modules if name.startswith("opentelemetry")])
sys.modules["opentelemetry"] = None
sys.argv = ["withdrawals-worker", "run"]
main()
"""


class Seen:
    """A tracing whose spans are kept, by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider, version="0")

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that have ended."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def seen() -> Seen:
    """Where spans are looked at."""
    return Seen()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that is logged; the library's own logger is as it was afterwards."""
    library = logging.getLogger("opentelemetry")
    before = library.level
    yield caplog
    library.setLevel(before)


def a_followed(message_id: str, trace_id: str | None, flags: str = "01") -> Withdrawal:
    """A withdrawal that came with this trace."""
    traceparent = None if trace_id is None else f"00-{trace_id}-{SPAN}-{flags}"
    return a_pending(order=an_order(message_id, traceparent=traceparent))


def test_a_step_days_later_belongs_to_the_trace_of_its_request(seen: Seen) -> None:
    """
    What it does hangs below it, and every line of the log in between has their ids.
    """
    with seen.tracing.step(a_followed("a", TRACE), "look"):
        around = ids()
        with seen.tracing.call("bluum", "look", "GET", "api.example") as call:
            inside = ids()
            call.answered(200, "req_1")
    step, call_span = seen.spans["follow look"], seen.spans["GET bluum look"]

    assert (TRACE, SPAN) == (_trace(step), _hex(step.parent))
    assert (TRACE, _hex(step.context)) == (_trace(call_span), _hex(call_span.parent))
    assert {"message_id": "a", "trace_id": TRACE, "span_id": _hex(step.context)} == _own(around)
    assert {**_own(around), "span_id": _hex(call_span.context)} == _own(inside)
    assert {} == ids()


def test_one_step_of_many_lies_in_its_own_trace(seen: Seen) -> None:
    """
    What they have in common is told in the trace of one that is sampled, and linked both ways.
    """
    unsampled, sampled = a_followed("a", OTHER, "00"), a_followed("b", TRACE)
    alone = a_followed("c", None)
    with seen.tracing.steps([unsampled, sampled, alone], "look"):
        with seen.tracing.call("bluum", "list", "GET", "api.example"):
            in_common = ids()
        for one in (unsampled, sampled, alone):
            with seen.tracing.step(one, "look"), seen.tracing.commit("sqlite", "record"):
                pass
    together = seen.spans["follow look together"]
    # Of one without a trace: it begins another.
    last = seen.spans["follow look"]

    assert TRACE == _trace(together)
    assert [OTHER] == [f"{link.context.trace_id:032x}" for link in together.links]
    assert _trace(last) not in {TRACE, OTHER}
    assert [_hex(together.context)] == [_hex(link.context) for link in last.links]
    assert _hex(last.context) == _hex(seen.spans["ledger record"].parent)
    # A line about all of them has nobody's ids.
    assert {} == in_common
    assert _hex(together.context) == _hex(seen.spans["GET bluum list"].parent)
    assert 2 + 2 * 2 == len(seen._exporter.get_finished_spans())  # noqa: SLF001


@pytest.mark.parametrize(
    ("settlement", "told"),
    [
        (ACCEPT, {"withdrawals.settlement": "accepted"}),
        (
            Bury(DeadReason.INVALID, "amount: expected a decimal"),
            {"withdrawals.settlement": "dead-lettered", "error.type": "invalid"},
        ),
        (
            Return("ledger unavailable"),
            {"withdrawals.settlement": "returned", "error.type": "returned"},
        ),
    ],
    ids=["accepted", "dead-lettered", "returned"],
)
def test_a_message_tells_what_became_of_it(
    seen: Seen, settlement: Settlement, told: dict[str, str]
) -> None:
    """
    One without a trace is handed on with that of its own span.
    """
    with seen.tracing.message("withdrawals.requests", Envelope(body=b"{}")) as handling:
        handling.settled(settlement)
    span = seen.spans["process withdrawals.requests"]
    attributes = dict(span.attributes or {})

    assert told.items() <= attributes.items()
    assert ("error.type" in told) is (not span.status.is_unset)
    assert span.parent is None
    _, trace_id, span_id, _ = handling.envelope.headers["traceparent"].split("-")
    assert (_trace(span), _hex(span.context)) == (trace_id, span_id)


def test_an_error_is_told_by_its_kind_alone(seen: Seen) -> None:
    """
    Its words may hold anything.
    """
    with pytest.raises(ValueError, match="private"), seen.tracing.step(a_followed("a", TRACE), "x"):
        raise ValueError("private")
    span = seen.spans["follow x"]

    assert "private" not in span.to_json()
    assert "ValueError" == (span.attributes or {})["error.type"]


def test_what_is_nobodys_work_has_no_span(seen: Seen) -> None:
    """
    Reconciliation, tries of the credentials and the ledger's own upkeep begin no traces.
    """
    with seen.tracing.call("bluum", "wallet", "GET", "api.example") as call:
        call.silent("timeout")
    with seen.tracing.commit("sqlite", "record"):
        pass

    assert {} == seen.spans


@pytest.mark.parametrize("away", [True, False], ids=["away", "silent"])
async def test_a_collector_that_does_not_take_spans_holds_nobody_up(
    away: bool, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is told once; of thousands of spans no more are kept than fit, and the end is not late.
    """
    async with _a_port(away=away) as port:
        for name, value in {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
        }.items():
            monkeypatch.setenv(name, value)
        async with Exporting(version="0") as provider:
            tracing = Tracing(provider, version="0")
            for number in range(2_000):
                with tracing.step(a_followed(str(number), TRACE), "look"):
                    pass
            while not (told := _told(log)):  # noqa: ASYNC110 - another thread knows
                await asyncio.sleep(0.01)

    told = _told(log)
    assert ["spans are not taken by the collector"] == told[:1]
    assert {"spans are not taken by the collector", "the last spans are not sent"} >= {*told}
    assert len(told) == len({*told})


async def test_what_the_variables_say_goes_before_what_we_say(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where spans go, how many of them, and under which name, is OpenTelemetry's own business.
    """
    async with a_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "payouts")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        async with Exporting(version="1.2.3") as provider:
            tracing = Tracing(provider, version="1.2.3")
            for trace_id in (None, TRACE):
                with tracing.step(a_followed("a", trace_id), "look"):
                    pass
    (span,) = collector.spans

    assert TRACE == span.trace_id
    assert {
        "service.name": "payouts",
        "service.version": "1.2.3",
        "deployment.environment.name": "test",
    }.items() <= span.resource.items()
    assert [] == _told(log)


def test_a_delivery_that_is_not_recorded_asks_for_no_traces() -> None:
    """
    They would be read from the ledger for nobody.
    """
    wanted = []
    for sampler in (None, ALWAYS_OFF):
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        with Tracing(provider, version="0").delivery("bluum") as delivery:
            wanted.append(delivery.wants_traces)

    assert [True, False] == wanted


async def test_a_variable_that_cannot_be_used_is_told_by_its_name(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its value may be a secret, so no line has it; spans are made without it, as OpenTelemetry does.
    """
    bad = {
        "OTEL_BSP_EXPORT_TIMEOUT": "secret",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "secret",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "secret:4317",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=fine,Bearer secret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "secret",
        "OTEL_RESOURCE_ATTRIBUTES": "team=payouts,secret",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "5 secret",
    }
    for name, value in bad.items():
        monkeypatch.setenv(name, value)
    async with AsyncExitStack() as stack:
        await open_journeys(stack, enabled=True, version="0")
    told = [record for record in log.records if record.name == "worker.app.traces"]

    assert "secret" not in log.text + repr([vars(record) for record in told])
    assert bad.keys() - {"OTEL_TRACES_SAMPLER"} == {vars(record)["variable"] for record in told}
    assert [] == [one for one in log.records if one.name.startswith("opentelemetry")]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "100",
            "expected a whole number, no less than OTEL_BSP_MAX_EXPORT_BATCH_SIZE (512 by default)",
        ),
        (
            "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
            "nosuch",
            "expected what OpenTelemetry takes (RuntimeError)",
        ),
    ],
)
async def test_variables_that_stop_opentelemetry_are_told(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where nobody can tell which it is, all that are set are named.
    """
    monkeypatch.setenv(name, value)
    async with AsyncExitStack() as stack:
        with pytest.raises(TracingUnfit) as unfit:
            await open_journeys(stack, enabled=True, version="0")

    assert f"{name}: {expected}" == str(unfit.value)


def test_a_worker_with_such_variables_ends_with_one_line() -> None:
    """
    Also where importing OpenTelemetry fails with them; 2 is the code of a wrong setting.
    """
    ran = _run(
        "from worker.cli import main; import sys; sys.argv = ['withdrawals-worker', 'run']; main()",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="secret",
        OTEL_BSP_SCHEDULE_DELAY="0",
    )

    assert (
        "OTEL_BSP_SCHEDULE_DELAY: expected a whole number above 0;"
        " OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: expected a whole number, no less than 0\n"
    ) == ran.stderr
    assert 2 == ran.returncode


def test_without_traces_nothing_of_opentelemetry_is_imported() -> None:
    """
    And where they are wanted and it is not installed, one line names the variable and the extra.
    """
    ran = _run(_WITHOUT)

    assert "[]\n" == ran.stdout
    assert (
        "WORKER_TRACING__ENABLED: found true, expected OpenTelemetry to be installed for it:"
        " pip install 'withdrawals-worker[tracing]'\n"
    ) == ran.stderr
    assert 2 == ran.returncode


def _run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a worker's Python that wants traces."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={
            "WORKER_TRACING__ENABLED": "true",
            "WORKER_BLUUM__API_KEY": "k",
            "WORKER_BLUUM__API_SECRET": "s",
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@asynccontextmanager
async def _a_port(*, away: bool) -> AsyncIterator[int]:
    """A port at which nobody answers: none listens, or one who hears and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        if away:
            listener.close()
        yield port


def _told(log: pytest.LogCaptureFixture) -> list[str]:
    """Return what we said; the library may still be busy with another test's spans."""
    return [record.getMessage() for record in log.records if record.name == "worker.tracing"]


def _trace(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def _hex(context: Any) -> str:  # noqa: ANN401 - or None, which fails
    return f"{context.span_id:016x}"


def _own(found: Any) -> dict[str, str]:  # noqa: ANN401 - a mapping
    return {name: found[name] for name in ("message_id", "trace_id", "span_id")}
