"""Wires the house, runs it, and drains it; the only room that knows all the others.

`parts` makes single parts from settings, `house` puts them together, `opening` waits for the
ledger, `live` runs the whole."""

from worker.app.live import PortUnfit, run, until_stopped
from worker.app.opening import migrate_once_there, open_if_there
from worker.app.parts import (
    SHAPES,
    broker_of,
    open_providers,
    open_subscriptions,
    patience_of,
    reconciliation_of,
)
from worker.app.traces import TracingMissing, TracingUnfit

__all__ = [
    "SHAPES",
    "PortUnfit",
    "TracingMissing",
    "TracingUnfit",
    "broker_of",
    "migrate_once_there",
    "open_if_there",
    "open_providers",
    "open_subscriptions",
    "patience_of",
    "reconciliation_of",
    "run",
    "until_stopped",
]
