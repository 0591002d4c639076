"""A provider at its worst within what is promised of it, and the witness of each call for money.

It pays at once, late or not at all, answers or is silent, forgets a key after a day, shows a payout
in its list after a while. It places an order as often as it is told to. What it holds outlives
every worker."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeVar

from tests.core.builders import INSUFFICIENT
from tests.flows.fakes import FakeProvider, Saying
from worker.core.answers import Conflicted, Denied, Refused, Throttled, Unclear
from worker.core.sale import OPEN, SaleStatus
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import date, datetime

    from worker.core.answers import Answer, ListAnswer
    from worker.core.permit import Permit
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit

_A = TypeVar("_A")

#: A call that our side has given up may still execute so much later.
AFTERLIFE: Final = timedelta(seconds=60)
#: So long our side waits for an answer.
TIMEOUT: Final = timedelta(seconds=0.4)
#: How a payout gets on by itself.
_PROCESSING_AFTER: Final = timedelta(seconds=10)
_COMPLETED_AFTER: Final = timedelta(seconds=40)
#: The same of an order, as its status and what is sold of it by then (None: all).
FILLED: Final = ((timedelta(seconds=20), SaleStatus.FILLED, None),)
CUT_SHORT: Final = (
    (timedelta(seconds=10), SaleStatus.PARTIAL, "1"),
    (timedelta(seconds=20), SaleStatus.CANCELLED, "1"),
)


class Manner(Enum):
    """How the provider takes one call. To pay is to do what was asked for, whatever that is."""

    PAYS = auto()
    PAYS_SILENTLY = auto()
    PAYS_LATE = auto()
    IS_SILENT = auto()
    REFUSES = auto()
    CONFLICTS = auto()
    THROTTLES = auto()
    DENIES = auto()


#: What is said to a call in place of the truth.
_WORDS: Final[Mapping[Manner, Conflicted | Denied | Refused | Throttled | Unclear]] = {
    Manner.PAYS_SILENTLY: Unclear("timeout"),
    Manner.PAYS_LATE: Unclear("timeout"),
    Manner.IS_SILENT: Unclear("timeout"),
    Manner.REFUSES: Refused(INSUFFICIENT),
    Manner.CONFLICTS: Conflicted(),
    Manner.THROTTLES: Throttled(),
    Manner.DENIES: Denied(),
}
_PAYING: Final = frozenset({Manner.PAYS, Manner.PAYS_SILENTLY})


class Bank(FakeProvider):
    """Takes calls in the manners that it was given, one by one; and pays once they are out.

    `manners` are for create calls, `order_manners` for those to place an order, `cancel_manners`
    for those to cancel anything. `witness` and `order_witness` see each call for money before
    anything comes of it, `happened` is called right after that. `lag` is how long the lists take to
    show what is new. `quiet` looks and lists get no answer. An order gets on as `course` says.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        witness: Callable[[Permit], Awaitable[None]],
        order_witness: Callable[[SalePermit], Awaitable[None]],
        happened: Callable[[], None],
    ) -> None:
        super().__init__(self._now)
        self.manners: deque[Manner] = deque()
        self.order_manners: deque[Manner] = deque()
        self.cancel_manners: deque[Manner] = deque()
        self.lag = timedelta(0)
        self.quiet = 0
        self.course: tuple[tuple[timedelta, SaleStatus, str | None], ...] = FILLED
        self._true_now = now
        self._witness = witness
        self._order_witness = order_witness
        self._happened = happened
        #: What is carried out later, and when; as of then.
        self._under_way: deque[tuple[datetime, Callable[[], object]]] = deque()
        self._as_of: datetime | None = None

    async def create(self, permit: Permit) -> Answer:
        """Take a create call in the next manner."""
        await self._witness(permit)
        manner = _next(self.manners)
        self.catch_up()
        if manner is Manner.PAYS_LATE:
            self._later(lambda: self._pay(permit))
        self.says.append(Saying(_WORDS.get(manner), pays=manner in _PAYING))
        return await self._after_a_while(await super().create(permit))

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Take a call to place an order in the next manner; no key is honoured."""
        await self._order_witness(permit)
        manner = _next(self.order_manners)
        self.catch_up()
        if manner is Manner.PAYS_LATE:
            self._later(lambda: self.market.execute(permit.body))
        placed = self.market.execute(permit.body) if manner in _PAYING else None
        answer: OrderAnswer | None = _WORDS.get(manner, placed)
        assert answer is not None
        return await self._after_a_while(answer)

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Cancel a payout in the next manner."""
        manner = _next(self.cancel_manners)
        self._get_on()
        done = await super().cancel(party_id, withdrawal_id) if manner in _PAYING else None
        answer: Answer | None = _WORDS.get(manner, done)
        assert answer is not None
        return await self._after_a_while(answer)

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Cancel an order in the next manner."""
        manner = _next(self.cancel_manners)
        self._get_on()
        done = await super().cancel_order(party_id, order_id) if manner in _PAYING else None
        answer: OrderAnswer | None = _WORDS.get(manner, done)
        assert answer is not None
        return await self._after_a_while(answer)

    def reverse(self) -> None:
        """Take back what was paid out."""
        self._get_on()
        for paid in self.paid:
            if paid.status is Status.COMPLETED:
                paid.status = Status.FAILED

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not self._under_way

    def catch_up(self) -> None:
        """Carry out what has arrived by now."""
        while self._under_way and self._under_way[0][0] <= self._true_now():
            self._as_of, arrive = self._under_way.popleft()
            arrive()
            self._as_of = None
            self._happened()

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Tell how far a payout has got."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().look(party_id, withdrawal_id)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """List what is old enough to be shown."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().listed(party_id, since, until)

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Tell how far an order has got."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().order(party_id, order_id)

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """List the orders that are old enough to be shown."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().orders(party_id, sale)

    async def _after_a_while(self, answer: _A) -> _A:
        """Let our side wait in vain for an answer that does not come."""
        self._happened()
        if isinstance(answer, Unclear):
            await asyncio.sleep(TIMEOUT.total_seconds())
        return answer

    def _keeps_quiet(self) -> bool:
        if self.quiet == 0:
            return False
        self.quiet -= 1
        return True

    def _later(self, arrive: Callable[[], object]) -> None:
        self._under_way.append((self.now() + AFTERLIFE, arrive))

    def _now(self) -> datetime:
        return self._as_of or self._true_now()

    def _get_on(self) -> None:
        self.catch_up()
        for paid in self.paid:
            age = self.now() - paid.at
            paid.is_listed = age >= self.lag
            if paid.status not in {Status.PENDING, Status.PROCESSING}:
                continue
            if age >= _COMPLETED_AFTER:
                paid.status = Status.COMPLETED
            elif age >= _PROCESSING_AFTER:
                paid.status = Status.PROCESSING
        market = self.market
        for order in market.book.values():
            assert order.created_at is not None
            age = self.now() - order.created_at
            (market.hidden.discard if age >= self.lag else market.hidden.add)(order.order_id)
            for after, status, sold in self.course:
                if age >= after and market.book[order.order_id].status in OPEN:
                    market.move(order.order_id, status, sold)


def _next(manners: deque[Manner]) -> Manner:
    return manners.popleft() if manners else Manner.PAYS
