"""The control calls that only a simulated Upvest has: cash, returns, tokens, webhook keys.

They speak no HTTP: a document in, a document out, a ValueError that names the field at fault."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.simulator.control import Command, fields, text
from worker.simulator.upvest_bank import RETURN_REASONS
from worker.simulator.upvest_documents import balance_document, withdrawal_document
from worker.simulator.upvest_ground import problem_of_group
from worker.simulator.upvest_problems import Problem
from worker.simulator.upvest_reading import is_uuid
from worker.simulator.upvest_terms import CASH_CURRENCIES
from worker.simulator.upvest_withdrawal import CancellationReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.simulation import Simulation
    from worker.simulator.upvest_house import House

_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")

Granted = TypeVar("Granted")


def commands(simulation: Simulation[House]) -> tuple[Command, ...]:
    """Return the control calls of one simulation of Upvest."""
    house, clock = simulation.house, simulation.clock

    def fill(document: Mapping[str, Any]) -> dict[str, Any]:
        """Add cash: `{"account_group_id": "…", "amount": "500.00", "currency": "EUR"}`."""
        given = fields(document, "account_group_id", "amount", currency=CASH_CURRENCIES[0])
        group, currency = _uuid(given, "account_group_id"), text(given, "currency")
        if problem := problem_of_group(group):
            _granted(problem)
        if currency not in CASH_CURRENCIES:
            raise ValueError("currency: one of " + ", ".join(CASH_CURRENCIES))
        house.ground.deposit(group, currency, _amount(text(given, "amount")), now=clock.now())
        return balance_document(group, currency, house.ground.coffers.cash(group, currency))

    def reverse(document: Mapping[str, Any]) -> dict[str, Any]:
        """Take back what is confirmed: `{"withdrawal_id": "…", "reason": "CANCELLED_BY_BANK"}`."""
        given = fields(document, "withdrawal_id", reason=CancellationReason.BANK)
        reason = text(given, "reason")
        if reason not in RETURN_REASONS:
            raise ValueError("reason: one of " + ", ".join(RETURN_REASONS))
        now = clock.now()
        turned = house.bank.reverse(
            text(given, "withdrawal_id"), reason=CancellationReason(reason), now=now
        )
        return withdrawal_document(_granted(turned), now=now)

    def link(document: Mapping[str, Any]) -> dict[str, Any]:
        """Let an account belong to a group: `{"account_id": "…", "account_group_id": "…"}`."""
        given = fields(document, "account_id", "account_group_id")
        account, group = _uuid(given, "account_id"), _uuid(given, "account_group_id")
        house.ground.coffers.link(account, group)
        return {"account_id": account, "account_group_id": group}

    def revoke(document: Mapping[str, Any]) -> dict[str, Any]:
        """Make all access tokens useless; new ones may be had: `{}`."""
        fields(document)
        return {"revoked": house.tokens.revoke()}

    def rotate(document: Mapping[str, Any]) -> dict[str, Any]:
        """Sign webhooks with a new key: `{"overlap": true}` still shows the old ones."""
        overlap = fields(document, overlap=True)["overlap"]
        if not isinstance(overlap, bool):
            raise ValueError(f"overlap: true or false, not {overlap!r}")  # noqa: TRY004 - one kind of error for one kind of answer
        house.webhooks.keys.rotate(overlap=overlap)
        return {"kids": list(house.webhooks.keys.kids)}

    return (
        Command("POST", "cash", fill),
        Command("POST", "reversals", reverse),
        Command("POST", "accounts", link),
        Command("POST", "tokens", revoke),
        Command("POST", "webhook-keys", rotate),
    )


def _uuid(given: Mapping[str, object], name: str) -> str:
    value = text(given, name)
    if not is_uuid(value):
        raise ValueError(f"{name}: a UUID, not {value!r}")
    return value.lower()


def _amount(written: str) -> Decimal:
    if not _AMOUNT.fullmatch(written) or not (amount := Decimal(written)):
        raise ValueError(f"amount: a positive decimal string of money, not {written!r}")
    return amount


def _granted(outcome: Granted | Problem) -> Granted:
    """Turn a problem of the house into an error of the call."""
    if isinstance(outcome, Problem):
        raise ValueError(f"{outcome.instance}: {outcome.detail}")  # noqa: TRY004 - one kind of error for one kind of answer
    return outcome
