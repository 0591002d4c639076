"""Whether traces are wanted, and who makes their spans then.

Where they are not wanted, nothing of OpenTelemetry is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.flows.journey import UNTRACED

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from worker.flows.journey import Journeys

_LIBRARY: Final = "opentelemetry"


class TracingMissing(Exception):  # noqa: N818
    """Traces are wanted, and what makes them is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "WORKER_TRACING__ENABLED: found true, expected OpenTelemetry to be installed for it:"
            " pip install 'withdrawals-worker[tracing]'"
        )


async def open_journeys(stack: AsyncExitStack, *, enabled: bool, version: str) -> Journeys:
    """Return what is told of all work; `stack` sends the last spans.

    Raises TracingMissing where traces are `enabled` and the extra is not installed.
    """
    if not enabled:
        return UNTRACED
    try:
        # An extra, and it would double the time of every start.
        from worker.tracing import Exporting, Tracing  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != _LIBRARY:
            raise
        raise TracingMissing from None
    exporting = Exporting(version=version)
    return Tracing(await stack.enter_async_context(exporting), version=version)
