"""The cash of the simulated Upvest's account groups (CBREF, WG): what is there, what is free.

Pure. Kept is what has changed since the opening; what an account group opens with follows from its
id. Whose cash an account's orders raise follows from the last digits of its id (see
`upvest_terms`), or from what was told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.simulator.upvest_terms import UpvestTerms

_NONE: Final = Decimal(0)
#: So many characters at the end of a UUID tell which accounts belong to a group.
_FAMILY: Final = 12


@dataclass(frozen=True, slots=True)
class Cash:
    """The cash of one account group in one currency.

    `reserved` is held for withdrawals that are not confirmed, `unsettled` was sold and has not
    settled; both are part of the balance.
    """

    balance: Decimal = _NONE
    reserved: Decimal = _NONE
    unsettled: Decimal = _NONE

    @property
    def available(self) -> Decimal:
        """What can be withdrawn."""
        return self.balance - self.reserved - self.unsettled


class Coffers:
    """The cash of everybody."""

    def __init__(self, terms: UpvestTerms) -> None:
        self._terms = terms
        self._changes: dict[tuple[str, str], Cash] = {}
        self._linked: dict[str, str] = {}
        # The first account group that was seen of each family.
        self._heads: dict[str, str] = {}

    def cash(self, account_group_id: str, currency: str) -> Cash:
        """Return the cash of an account group."""
        self._see(account_group_id)
        change = self._change(account_group_id, currency)
        opening = self._terms.opening_for(account_group_id)
        return replace(change, balance=change.balance + opening)

    def group_of(self, account_id: str) -> str:
        """Return the account group of an account, or what stands for it until one is seen."""
        family = account_id[-_FAMILY:]
        return self._linked.get(account_id) or self._heads.get(family) or family

    def knows(self, account_group_id: str) -> bool:
        """Tell whether this is an account group, and not what stands for one."""
        return len(account_group_id) > _FAMILY

    def link(self, account_id: str, account_group_id: str) -> None:
        """Let an account belong to an account group."""
        self._linked[account_id] = account_group_id

    def reserve(self, account_group_id: str, currency: str, amount: Decimal) -> None:
        """Hold an amount for a withdrawal; a negative one lets go."""
        change = self._change(account_group_id, currency)
        self._keep(account_group_id, currency, replace(change, reserved=change.reserved + amount))

    def add(self, account_group_id: str, currency: str, amount: Decimal) -> None:
        """Add settled cash; a negative amount leaves."""
        change = self._change(account_group_id, currency)
        self._keep(account_group_id, currency, replace(change, balance=change.balance + amount))

    def earn(self, account_group_id: str, currency: str, amount: Decimal) -> None:
        """Add what was sold for and has not settled; a negative amount is taken back."""
        change = self._change(account_group_id, currency)
        earned = Cash(change.balance + amount, change.reserved, change.unsettled + amount)
        self._keep(account_group_id, currency, earned)

    def settle(self, account_group_id: str, currency: str, amount: Decimal) -> None:
        """Let what was sold for be withdrawn from now on."""
        change = self._change(account_group_id, currency)
        self._keep(account_group_id, currency, replace(change, unsettled=change.unsettled - amount))

    def _see(self, account_group_id: str) -> None:
        """Give a group what its family's accounts raised before anybody asked for it."""
        family = account_group_id[-_FAMILY:]
        if family in self._heads:
            return
        self._heads[family] = account_group_id
        for place in [place for place in self._changes if place[0] == family]:
            self._changes[account_group_id, place[1]] = self._changes.pop(place)

    def _change(self, account_group_id: str, currency: str) -> Cash:
        return self._changes.get((account_group_id, currency), Cash())

    def _keep(self, account_group_id: str, currency: str, cash: Cash) -> None:
        self._changes[account_group_id, currency] = cash
