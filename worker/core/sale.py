"""Selling to raise the cash first: an order at the provider, and what follows from how it fares.

Pure, like all decisions. That the cash is withdrawn afterwards is decided in `decide`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One order that raises cash, as it stands. Change is `replace`.

    `key` is its own idempotency key and its `client_order_id`; `body` are the exact bytes that
    every attempt sends.
    """

    key: str
    body: bytes = field(default=b"", repr=False)
