"""Whether traces are wanted, and who makes their spans then.

Where they are not wanted, nothing of OpenTelemetry is imported. Its variables (OTEL_…) are its own
to read: here is only what is said of those it cannot use, never with their values, which may be
secrets."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Final

from worker.flows.journey import UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AsyncExitStack

    from worker.flows.journey import Journeys

_log = logging.getLogger(__name__)

_LIBRARY: Final = "opentelemetry"
_VARIABLES: Final = "OTEL_"
#: As many as OpenTelemetry sends at once when nobody says another number.
_BATCH: Final = 512
_SAMPLERS: Final = frozenset({"always_on", "always_off", "traceidratio"})
#: One header as OpenTelemetry reads it: `name=value`.
_HEADER: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~\t]*")


class TracingMissing(Exception):  # noqa: N818
    """Traces are wanted, and what makes them is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "WORKER_TRACING__ENABLED: found true, expected OpenTelemetry to be installed for it:"
            " pip install 'withdrawals-worker[tracing]'"
        )


class TracingUnfit(Exception):  # noqa: N818
    """Traces are wanted, and OpenTelemetry does not begin with the variables that it is given.

    `problems` names each, and what is expected of it.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: expected {what}" for name, what in problems.items()))


async def open_journeys(stack: AsyncExitStack, *, enabled: bool, version: str) -> Journeys:
    """Return what is told of all work; `stack` sends the last spans.

    Raises TracingMissing where traces are `enabled` and the extra is not installed, TracingUnfit
    where a variable stops OpenTelemetry. One that it goes on without is a line of the log.
    """
    if not enabled:
        return UNTRACED
    # Its words repeat what it was given.
    logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL)
    try:
        # An extra, and it would double the time of every start.
        from worker.tracing import Exporting, Tracing  # noqa: PLC0415

        exporting = Exporting(version=version)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != _LIBRARY:
            raise
        raise TracingMissing from None
    except Exception as error:
        given = sorted(name for name in os.environ if name.startswith(_VARIABLES))
        if not given:
            raise
        # Of the error nothing but its kind: it may repeat what it was given.
        untold = dict.fromkeys(given, f"what OpenTelemetry takes ({type(error).__name__})")
        raise TracingUnfit(dict(_problems(os.environ)) or untold) from None
    for variable, expected in _problems(os.environ):
        _log.warning("variable cannot be used", extra={"variable": variable, "expected": expected})
    return Tracing(await stack.enter_async_context(exporting), version=version)


def _problems(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that OpenTelemetry cannot use, and what it expects there.

    As version 1.45 reads them; an empty one is none.
    """
    for name, (expected, is_good) in sorted(_EXPECTED.items()):
        if (value := environ.get(name)) and not is_good(value, environ):
            yield name, expected


def _whole(least: float) -> Callable[[str, Mapping[str, str]], bool]:
    return lambda value, _: (number := _number(value, int)) is not None and number >= least


def _is_queue(value: str, environ: Mapping[str, str]) -> bool:
    batch = _number(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", ""), int)
    return _whole(_BATCH if batch is None else batch)(value, environ)


def _is_number(value: str, _: Mapping[str, str]) -> bool:
    return _number(value, float) is not None


def _is_share(value: str, environ: Mapping[str, str]) -> bool:
    if not environ.get("OTEL_TRACES_SAMPLER", "").lower().endswith("traceidratio"):
        return True
    share = _number(value, float)
    return share is not None and 0 <= share <= 1


def _number(value: str, kind: Callable[[str], float]) -> float | None:
    try:
        return kind(value)
    except ValueError:
        return None


def _are_headers(value: str, _: Mapping[str, str]) -> bool:
    return all(not one.strip() or _HEADER.fullmatch(one.strip()) for one in value.split(","))


_WHOLE: Final = ("a whole number above 0", _whole(1))
_LIMIT: Final = ("a whole number, no less than 0", _whole(0))
_SECONDS: Final = ("a number of seconds", _is_number)
_HEADERS: Final = ("name=value, with commas between several", _are_headers)
_ADDRESS: Final = (
    "an address that begins with http:// or https://",
    lambda value, _: value.lower().startswith(("http://", "https://")),
)
_COMPRESSION: Final = (
    "none, gzip or deflate",
    lambda value, _: value.strip().lower() in {"none", "gzip", "deflate"},
)
_EXPECTED: Final[Mapping[str, tuple[str, Callable[[str, Mapping[str, str]], bool]]]] = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _LIMIT,
    "OTEL_BSP_EXPORT_TIMEOUT": _WHOLE,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _WHOLE,
    "OTEL_BSP_MAX_QUEUE_SIZE": (
        f"a whole number, no less than OTEL_BSP_MAX_EXPORT_BATCH_SIZE ({_BATCH} by default)",
        _is_queue,
    ),
    "OTEL_BSP_SCHEDULE_DELAY": _WHOLE,
    "OTEL_EXPORTER_OTLP_COMPRESSION": _COMPRESSION,
    "OTEL_EXPORTER_OTLP_ENDPOINT": _ADDRESS,
    "OTEL_EXPORTER_OTLP_HEADERS": _HEADERS,
    "OTEL_EXPORTER_OTLP_TIMEOUT": _SECONDS,
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": _COMPRESSION,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": _ADDRESS,
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": _HEADERS,
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": _SECONDS,
    "OTEL_RESOURCE_ATTRIBUTES": (
        "name=value, with commas between several",
        lambda value, _: all("=" in one for one in value.split(",")),
    ),
    "OTEL_TRACES_SAMPLER": (
        "one of OpenTelemetry's samplers",
        lambda value, _: value.lower().removeprefix("parentbased_") in _SAMPLERS,
    ),
    "OTEL_TRACES_SAMPLER_ARG": ("a share from 0 to 1", _is_share),
}
