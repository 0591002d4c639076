"""Acting stand-ins for what the flows talk to: a provider, a broker, a clock, and who is told.

They do what the real ones do, as well or as badly as a test asks; nothing is patched."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import Field

from tests.flows.market import Market, Stocks
from worker.core.answers import (
    Answer,
    Conflicted,
    Denied,
    Entry,
    EntryAnswer,
    Listed,
    Refused,
    Reported,
    Throttled,
)
from worker.core.requests import Identifier, Request
from worker.core.withdrawal import Reason, ReasonCode, Status, reference_token
from worker.flows.ports import PublishUnconfirmed
from worker.ledger.clock import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import date
    from decimal import Decimal
    from random import Random

    from worker.core.answers import ListAnswer
    from worker.core.change import Change
    from worker.core.permit import Permit
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Outgoing

#: Long ago, so that a real sign of life is always younger.
NOW: Final = datetime(2020, 6, 1, 10, tzinfo=UTC)


class VirtualClock(DatabaseClock):
    """The database's time, as far as the flows know: it moves only when a test moves it."""

    def __init__(self, at: datetime = NOW) -> None:
        super().__init__()
        self.at = at

    def set(self, read: datetime, *, asked_at: float) -> None:
        """Hear the real time and take no notice of it."""

    def now(self) -> datetime:
        """Return the time that it is in the test."""
        return self.at

    def advance(self, **by: float) -> None:
        """Let time pass, or go back: `advance(hours=24)`."""
        self.at += timedelta(**by)


class Payout(Request):
    """The request body of the fake provider."""

    party: Identifier
    target: Identifier = Field(repr=False)
    sell: Stocks = ()

    @property
    def party_id(self) -> str:
        """Whose money it is."""
        return self.party

    @property
    def target_id(self) -> str:
        """Where the money goes."""
        return self.target

    @property
    def payout_method(self) -> str:
        """How it travels."""
        return "ach"


@dataclass(frozen=True, slots=True)
class Call:
    """A create call as it arrived at the provider."""

    key: str
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Saying:
    """What the provider answers to one create call in place of the truth, and what it does.

    `pays` tells whether the call is carried out all the same. `meanwhile` happens before the
    answer, for as long as it takes.
    """

    answer: Answer | Exception | None = None
    pays: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class Paid:
    """A withdrawal at the provider."""

    withdrawal_id: str
    key: str
    party: str
    amount: str
    text: str
    at: datetime
    status: Status = Status.PENDING
    is_listed: bool = True


@dataclass(slots=True)
class FakeProvider:
    """Pays what it is asked to, remembers keys for a day, and records every call.

    The day of a key begins with the first call that it heard, whatever came of that, and is not
    renewed: what was refused or failed is executed anew under the same record.
    It tells the truth unless `says` (create), `looks`, `lists`, `entries` or `cancels` hold
    something else, which they give out one by one. `wallet` is what its wallets hold.
    `takes_references` tells whether a body has room for our reference, `keeps_to_days` whether the
    list shows those days alone that it is asked for.
    """

    now: Callable[[], datetime]
    name: str = "bank"
    shape: type[Request] = Payout
    takes_references: bool = True
    keeps_to_days: bool = False
    says: deque[Saying] = field(default_factory=deque)
    looks: deque[Answer | Exception] = field(default_factory=deque)
    lists: deque[ListAnswer] = field(default_factory=deque)
    entries: deque[EntryAnswer] = field(default_factory=deque)
    cancels: deque[Answer] = field(default_factory=deque)
    cancelled: list[str] = field(default_factory=list)
    wallet: Decimal | None = None
    wallets_read: int = 0
    #: What happens while a wallet is read.
    wallet_read: Callable[[], None] = lambda: None
    calls: list[Call] = field(default_factory=list)
    heard: dict[str, datetime] = field(default_factory=dict)
    looked: list[str] = field(default_factory=list)
    listings: list[tuple[str, date, date]] = field(default_factory=list)
    paid: list[Paid] = field(default_factory=list)
    market: Market = field(init=False)

    def __post_init__(self) -> None:
        """Open the market."""
        self.market = Market(self.now)

    def say(self, answer: Answer | Exception, *, pays: bool = False) -> None:
        """Give this answer to the next create call that has none yet."""
        self.says.append(Saying(answer, pays=pays))

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body, with our reference in its text."""
        text = reference_token(idempotency_key) if self.takes_references else "rent"
        return json.dumps({"amount": f"{request.amount:.2f}", "text": text}).encode()

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the orders' bodies."""
        return self.market.compose(request.sell, message_id)

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Place an order."""
        return await self.market.sell(permit)

    async def order(self, _party_id: str, order_id: str) -> OrderAnswer:
        """Tell of one order."""
        return await self.market.order(order_id)

    async def orders(self, _party_id: str, _sale: Sale) -> OrdersAnswer:
        """List the orders."""
        return await self.market.orders()

    async def cancel_order(self, _party_id: str, order_id: str) -> OrderAnswer:
        """Cancel an order."""
        return await self.market.cancel(order_id)

    async def create(self, permit: Permit) -> Answer:
        """Carry a create call out, or do what a test asked for."""
        self.calls.append(Call(permit.idempotency_key, permit.body, self.now()))
        saying = self.says.popleft() if self.says else Saying(pays=True)
        if saying.meanwhile is not None:
            await saying.meanwhile()
        if not isinstance(saying.answer, Throttled | Denied):
            self._hear(permit.idempotency_key)
        paid = self._pay(permit) if saying.pays or saying.answer is None else None
        if isinstance(saying.answer, Exception):
            raise saying.answer
        if saying.answer is not None:
            return saying.answer
        assert paid is not None
        return Reported(paid.withdrawal_id, Status.PENDING, "pending")

    async def look(self, _party_id: str, withdrawal_id: str) -> Answer:
        """Tell the status of one withdrawal."""
        self.looked.append(withdrawal_id)
        if self.looks:
            answer = self.looks.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer
        paid = next(paid for paid in self.paid if paid.withdrawal_id == withdrawal_id)
        return Reported(paid.withdrawal_id, paid.status, paid.status.value)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """List what was paid for a party."""
        self.listings.append((party_id, since, until))
        if self.lists:
            return self.lists.popleft()
        return Listed(
            tuple(
                _entry(paid)
                for paid in self.paid
                if paid.party == party_id
                and paid.is_listed
                and (not self.keeps_to_days or since <= paid.at.date() <= until)
            )
        )

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """List the same to whoever only wants to see."""
        return await self.listed(party_id, since, until)

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Cancel what is pending, unless a test wants another answer."""
        self.cancelled.append(withdrawal_id)
        if self.cancels:
            return self.cancels.popleft()
        paid = next(paid for paid in self.paid if paid.withdrawal_id == withdrawal_id)
        assert paid.party == party_id
        if paid.status is not Status.PENDING:
            return Conflicted()
        paid.status = Status.CANCELLED
        return Reported(paid.withdrawal_id, paid.status, paid.status.value)

    async def available(self, _party_id: str, _currency: str) -> Decimal | None:
        """Tell what the wallet holds."""
        self.wallets_read += 1
        self.wallet_read()
        return self.wallet

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """Tell all about one withdrawal of a party."""
        if self.entries:
            return self.entries.popleft()
        for paid in self.paid:
            if (paid.party, paid.withdrawal_id) == (party_id, withdrawal_id):
                return _entry(paid)
        return Refused(Reason(ReasonCode.NOT_FOUND))

    def _hear(self, key: str) -> datetime:
        """Return when the record of a key began, be it now."""
        now = self.now()
        if now - self.heard.get(key, now) >= timedelta(hours=24):
            del self.heard[key]
        return self.heard.setdefault(key, now)

    def _pay(self, permit: Permit) -> Paid:
        since = self._hear(permit.idempotency_key)
        for paid in self.paid:
            if paid.key == permit.idempotency_key and paid.at >= since:
                return paid
        body = json.loads(permit.body)
        paid = Paid(
            withdrawal_id=f"wd_{len(self.paid) + 1}",
            key=permit.idempotency_key,
            party=permit.party_id,
            amount=body["amount"],
            text=body["text"],
            at=self.now(),
        )
        self.paid.append(paid)
        return paid


def _entry(paid: Paid) -> Entry:
    return Entry(
        reported=Reported(paid.withdrawal_id, paid.status, paid.status.value),
        amount=paid.amount,
        currency="USD",
        method="ach",
        target_id=None,
        text=paid.text,
        created_on=paid.at.date(),
    )


class FakeOutbox:
    """A broker that confirms what it gets, unless a test wants it otherwise.

    `loses` are types of events that never arrive, each so many times; `swallows` those that arrive
    without confirmation; `fails` maps a type to what is raised, for ever. `replies_fail` is what
    becomes of copies for the asker. `random` lets publishes overtake each other.
    """

    def __init__(self, random: Random | None = None) -> None:
        self.arrived: list[Outgoing] = []
        self.answered: list[Outgoing] = []
        self.loses: Counter[str] = Counter()
        self.swallows: Counter[str] = Counter()
        self.fails: dict[str, Exception] = {}
        self.tries: Counter[str] = Counter()
        self.replies_fail: Exception | None = None
        self.confirming = asyncio.Event()
        self.confirming.set()
        self._random = random

    async def announce(self, event: Outgoing) -> None:
        """Take an event, or pretend to."""
        self.tries[event.type] += 1
        await self._dawdle()
        if event.type in self.fails:
            raise self.fails[event.type]
        if self.loses[event.type]:
            self.loses[event.type] -= 1
            raise PublishUnconfirmed("lost")
        self.arrived.append(event)
        await self._dawdle()
        await self.confirming.wait()
        if self.swallows[event.type]:
            self.swallows[event.type] -= 1
            raise PublishUnconfirmed("swallowed")

    async def answer(self, event: Outgoing) -> None:
        """Take a copy for the asker."""
        if self.replies_fail is not None:
            raise self.replies_fail
        self.answered.append(event)

    def told(self, message_id: str = "req-1") -> list[str]:
        """What arrived about one withdrawal, repeats included, without the part that all have."""
        return [
            event.type.removeprefix("withdrawal.")
            for event in self.arrived
            if event.message_id == message_id
        ]

    async def _dawdle(self) -> None:
        for _ in range(self._random.randrange(4) if self._random else 1):
            await asyncio.sleep(0)


class Told:
    """Is told of rows with events, keeps them, and tells others."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.others: list[Callable[[int], None]] = []

    def told(self, row: int) -> None:
        """Keep it."""
        self.rows.append(row)
        for tell in self.others:
            tell(row)


class Counted:
    """Counts what the flows report."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str | None, str]] = Counter()
        self.changes: list[tuple[str, str]] = []
        self.retries: Counter[str] = Counter()
        self.submissions: list[str] = []
        self.unknown_statuses = 0

    def request(self, provider: str | None, result: str) -> None:
        """Count a message."""
        self.requests[provider, result] += 1

    def changed(self, withdrawal: Withdrawal, change: Change) -> None:
        """Keep a move."""
        self.changes.append((withdrawal.order.message_id, change.status.value))

    def submitted(self, withdrawal: Withdrawal, after: timedelta) -> None:  # noqa: ARG002
        """Keep a way to the provider that is over."""
        self.submissions.append(withdrawal.order.message_id)

    def unknown_status(self, provider: str) -> None:  # noqa: ARG002 - the port's signature
        """Count a word that nobody documented."""
        self.unknown_statuses += 1

    def retried(self, provider: str, reason: str) -> None:  # noqa: ARG002
        """Count a call that will be made again."""
        self.retries[reason] += 1
