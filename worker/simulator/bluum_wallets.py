"""The wallets of the simulated Bluum: how much there is, how much is held, how much may leave.

Pure arithmetic on values. Investors need no registration: every one has a wallet a currency, opened
on first use, and questions about it cost no memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_terms import CURRENCIES, POOR, POOR_BALANCE, Terms
from worker.simulator.chance import token

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.agenda import Agenda

_NOTHING: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """One investor's money in one currency (CWL): `balance` includes what is `reserved`.

    `unsettled` is the part that came from fills and may not leave yet.
    """

    id: str
    investor_id: str
    currency: str
    balance: Decimal
    reserved: Decimal = _NOTHING
    unsettled: Decimal = _NOTHING

    @property
    def available(self) -> Decimal:
        """What is free to trade or withdraw (CWL, PWL)."""
        return self.balance - self.reserved

    @property
    def withdrawable(self) -> Decimal:
        """What may leave now: `cash_withdrawable`, which no page defines (WAL).

        Read here as what is available and settled.
        """
        return max(_NOTHING, self.available - self.unsettled)


class Wallets:
    """Every wallet that is not as it was opened."""

    def __init__(self, terms: Terms, agenda: Agenda) -> None:
        self._terms = terms
        self._agenda = agenda
        self._kept: dict[tuple[str, str], Wallet] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, investor_id: str) -> tuple[Wallet, ...]:
        """Return the investor's wallets, one a currency."""
        return tuple(self.wallet(investor_id, currency) for currency in CURRENCIES)

    def wallet(self, investor_id: str, currency: str) -> Wallet:
        """Return a wallet, or the one with which the investor would begin; that one is not kept."""
        if wallet := self._kept.get((investor_id, currency)):
            return wallet
        poor = investor_id.startswith(POOR)
        return Wallet(
            id="wlt_" + token(self._terms.seed, "wallet", investor_id, currency),
            investor_id=investor_id,
            currency=currency,
            balance=POOR_BALANCE if poor else self._terms.opening_balance,
        )

    def hold(self, investor_id: str, currency: str, amount: Decimal) -> None:
        """Put a hold on an amount."""
        wallet = self.wallet(investor_id, currency)
        self._keep(replace(wallet, reserved=wallet.reserved + amount))

    def release(self, investor_id: str, currency: str, amount: Decimal) -> None:
        """Take the hold off an amount, which stays."""
        wallet = self.wallet(investor_id, currency)
        self._keep(replace(wallet, reserved=wallet.reserved - amount))

    def pay(self, investor_id: str, currency: str, amount: Decimal) -> None:
        """Let an amount leave that was held."""
        self.release(investor_id, currency, amount)
        self.add(investor_id, currency, -amount)

    def add(self, investor_id: str, currency: str, amount: Decimal) -> None:
        """Add settled money."""
        wallet = self.wallet(investor_id, currency)
        self._keep(replace(wallet, balance=wallet.balance + amount))

    def earn(self, investor_id: str, currency: str, amount: Decimal, *, now: datetime) -> None:
        """Add the proceeds of a sale; they settle after the terms' `settlement_delay`."""
        self.add(investor_id, currency, amount)
        self._settle_later(investor_id, currency, amount)

        def settle(_at: datetime) -> None:
            self._settle_later(investor_id, currency, -amount)

        self._agenda.plan(now + self._terms.settlement_delay, settle)

    def _settle_later(self, investor_id: str, currency: str, amount: Decimal) -> None:
        wallet = self.wallet(investor_id, currency)
        self._keep(replace(wallet, unsettled=wallet.unsettled + amount))

    def _keep(self, wallet: Wallet) -> None:
        self._kept[wallet.investor_id, wallet.currency] = wallet
