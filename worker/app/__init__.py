"""Wires the house, runs it, and drains it; the only room that knows all the others.

`parts` makes single parts from settings, `house` puts them together, `live` runs the whole."""

from worker.app.live import run, until_stopped
from worker.app.parts import (
    SHAPES,
    broker_of,
    open_providers,
    open_subscriptions,
    patience_of,
    reconciliation_of,
)

__all__ = [
    "SHAPES",
    "broker_of",
    "open_providers",
    "open_subscriptions",
    "patience_of",
    "reconciliation_of",
    "run",
    "until_stopped",
]
