"""What happened to money at the simulated Upvest, in the order of happening, and who is told.

Values and a list. An answer is not an effect, and neither is a step that follows from time alone: a
withdrawal that is confirmed was executed before, and stands here once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from decimal import Decimal

    from worker.simulator.route import Document


class Kind(StrEnum):
    """What an effect did; the words are those of every simulator's record."""

    WITHDRAWAL = "withdrawal"
    CANCEL = "cancel"
    REVERSAL = "reversal"
    DEPOSIT = "deposit"
    ORDER = "order"
    FILL = "fill"
    #: The proceeds of a fill can be withdrawn.
    SETTLEMENT = "settlement"
    #: A fill was taken back before it settled.
    MISTRADE = "mistrade"
    #: An order ended without being filled whole.
    ORDER_CANCEL = "order_cancel"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happened. `subject_id` is the withdrawal, the order or the account group.

    `quantity` is a fill's number of shares or a deposit's money.
    """

    kind: Kind
    subject_id: str
    at: datetime
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell by webhook: `WITHDRAWAL.NEW`, its moment, and the resource as it is."""

    type: str
    at: datetime
    resource_id: str
    object: Document


@dataclass(slots=True)
class Journal:
    """Every effect so far, and whoever wants to be told of changes."""

    effects: list[Effect] = field(default_factory=list)
    listeners: list[Callable[[Notice], None]] = field(default_factory=list)

    def enter(self, effect: Effect) -> None:
        """Write down an effect."""
        self.effects.append(effect)

    def tell(self, notice: Notice) -> None:
        """Tell everybody who listens."""
        for listener in self.listeners:
            listener(notice)
