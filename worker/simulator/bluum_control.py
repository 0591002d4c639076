"""The control calls that only a simulated Bluum has: wallets and reversals.

They speak no HTTP: a document in, a document out, a ValueError that names the field at fault."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from worker.simulator.bluum_bank import REVERSALS
from worker.simulator.bluum_calls import CURRENCY_DEFAULT, is_amount, refusal_of_identifiers
from worker.simulator.bluum_documents import wallet_document, withdrawal_document
from worker.simulator.bluum_refusals import Refusal
from worker.simulator.bluum_terms import OPENING_BALANCE_MAX
from worker.simulator.bluum_withdrawal import Status
from worker.simulator.control import Command, fields, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.bluum_house import House
    from worker.simulator.simulation import Simulation

Granted = TypeVar("Granted")


def commands(simulation: Simulation[House]) -> tuple[Command, ...]:
    """Return the control calls of one simulation of Bluum."""
    house, clock = simulation.house, simulation.clock
    generation = house.ground.terms.generation
    party = generation.party_name

    def fill(document: Mapping[str, Any]) -> dict[str, Any]:
        """Add cash: `{"investor_id": "inv_1", "amount": "500.00", "currency": "USD"}`.

        Or with the `account_id` of the older generation.
        """
        given = fields(document, party, "amount", currency=CURRENCY_DEFAULT)
        investor_id, currency = text(given, party), text(given, "currency")
        if refusal := refusal_of_identifiers({party: investor_id}, generation):
            raise ValueError(refusal.message)
        wallet = house.ground.deposit(
            investor_id, currency, _amount(text(given, "amount")), now=clock.now()
        )
        return wallet_document(_granted(wallet))

    def reverse(document: Mapping[str, Any]) -> dict[str, Any]:
        """Take back a completed withdrawal: `{"withdrawal_id": "wd_1", "status": "failed"}`."""
        given = fields(document, "withdrawal_id", status=Status.FAILED)
        withdrawal_id, status = text(given, "withdrawal_id"), text(given, "status")
        if status not in REVERSALS:
            raise ValueError("status: one of " + ", ".join(sorted(REVERSALS)))
        now = clock.now()
        turned = house.bank.reverse(withdrawal_id, to=Status(status), now=now)
        return withdrawal_document(_granted(turned), now=now, generation=generation)

    return Command("POST", "wallets", fill), Command("POST", "reversals", reverse)


def _amount(written: str) -> Decimal:
    if not is_amount(written) or (amount := Decimal(written)) > OPENING_BALANCE_MAX:
        raise ValueError(f"amount: a positive decimal string of money, not {written!r}")
    return amount


def _granted(outcome: Granted | Refusal) -> Granted:
    """Turn a refusal of the house into an error of the call."""
    if isinstance(outcome, Refusal):
        raise ValueError(f"{outcome.param}: {outcome.message}")  # noqa: TRY004 - one kind of error for one kind of answer
    return outcome
