"""One webhook delivery: is it genuine, whom do its events name, and wake those withdrawals.

It is written down before anybody is told that it was heard. It decides nothing about a withdrawal:
whoever takes the woken one up reads the truth from the provider.

Whatever is genuine is answered as heard, whatever it holds. Upvest sends nothing else while one
delivery is not (WHH), and a repeat could be read no better."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from itertools import repeat
from typing import TYPE_CHECKING, Final, Protocol

from worker.flows.journey import UNTRACED
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from typing import TypeAlias

    from worker.flows.journey import Journeys
    from worker.flows.ports import Now

    Address: TypeAlias = IPv4Address | IPv6Address
    Network: TypeAlias = IPv4Network | IPv6Network

_log = logging.getLogger(__name__)

#: Deliveries that are written at once; the others wait. Payouts share their commits with no more.
WRITES: Final = 16
#: The provider may wait 5 s for an answer; what is not written by then is to be sent again.
WRITE_SECONDS: Final = 4.0
#: It is written down by then: for the traces of those it woke, the answer waits no longer.
LINK_SECONDS: Final = 0.5
#: An event may come before the answer to our own call was written down. It is tried once more after
#: so long; of more than so many at once the oldest are given up. The polls find those.
SECOND_TRY: Final = timedelta(seconds=3)
WAITING_LIMIT: Final = 1000
#: Bluum gives up after 11 hours (PW); Upvest repeats for ever (WHH). What comes again after so long
#: wakes its withdrawal once more, which costs a look.
KEPT_FOR: Final = timedelta(days=7)
_FORGET_EVERY: Final = timedelta(hours=1)
_ROUND_SECONDS: Final = 1.0


class Outcome(StrEnum):
    """What became of an event, or of a request that held none: the closed set of the metric."""

    #: Written down, and its withdrawal woken.
    HEARD = "heard"
    #: Unknown at first and heard at the second try; counted beside its `unknown`.
    HEARD_LATE = "heard_late"
    DUPLICATE = "duplicate"
    #: Genuine, and about nothing of ours.
    UNKNOWN = "unknown"
    #: From an address that is not on the list.
    FOREIGN = "foreign"
    #: No signature, or a wrong one.
    FORGED = "forged"
    #: Its time is too far from ours.
    STALE = "stale"
    #: Nobody could tell whether it is genuine: the provider's keys were out of reach.
    UNVERIFIED = "unverified"
    #: Not HTTP, or not what a delivery or an event looks like.
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    #: Another path, or another method.
    MISDIRECTED = "misdirected"
    #: No room for it at this moment.
    CROWDED = "crowded"
    #: Too slow, or the oldest when there was no room for another.
    CUT_OFF = "cut_off"
    #: The ledger did not confirm it.
    NOT_WRITTEN = "not_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a delivery: all that is known of it before its body is read.

    `target` is path and query exactly as they came, `headers` have names in lower case. `source` is
    who sent it, seen from before our own proxies; None where that cannot be told.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """What an event is about: its kind, and ids that may be of a withdrawal or an order of ours.

    Its repeats carry the same `identity`; where that is None, the same delivery.
    """

    event: str | None
    ids: tuple[str, ...]
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A hint as it is written down; `digest` tells it from all others of all providers."""

    digest: bytes = field(repr=False)
    event: str | None
    ids: tuple[str, ...]


class Verifier(Protocol):
    """Tells whether a delivery is genuine, by its provider's way of signing.

    Both ways end in a refusal or None: forged, stale, or unverified where it is to come again.
    """

    #: Whether what carries no signature is let in.
    allows_unsigned: bool

    def of_head(self, head: Head) -> Outcome | None:
        """Return why a delivery is refused by its head alone; None when its body is wanted."""
        ...

    async def of_whole(self, head: Head, body: bytes) -> Outcome | None:
        """Return why a delivery is refused; None when it is genuine."""
        ...


class Notebook(Protocol):
    """Where deliveries are written down."""

    async def hear(self, provider: str, notices: Sequence[Notice]) -> Sequence[str]:
        """Write a delivery's events down and wake whom they name.

        Returns "heard", "duplicate" or "unknown" for each.
        """
        ...

    async def traces_of(self, provider: str, ids: Collection[str]) -> Sequence[str]:
        """Return the traceparents of the requests that these ids of a provider belong to."""
        ...

    async def forget_hints(self, before: datetime) -> int:
        """Delete some deliveries that came before; return how many."""
        ...


class Hearing:
    """Hears the deliveries of one provider.

    `read` turns a body into the hints of its events, None in place of one that cannot be read; or
    into None when it is no delivery at all. With `sources` only these networks are listened to.
    `counted` is told the outcome of each event, or of a delivery that has none, `journeys` of each
    delivery that is genuine.
    """

    def __init__(
        self,
        provider: str,
        *,
        verifier: Verifier,
        read: Callable[[bytes], Sequence[Hint | None] | None],
        ledger: Notebook,
        now: Now,
        counted: Callable[[str, Outcome], None],
        sources: Collection[Network] = (),
        beat: Callable[[], None] = lambda: None,
        second_try: timedelta = SECOND_TRY,
        journeys: Journeys = UNTRACED,
    ) -> None:
        self.provider = provider
        self._verifier = verifier
        self._read = read
        self._ledger = ledger
        self._now = now
        self._counted = counted
        self._sources = tuple(sources)
        self._beat = beat
        self._second_try = second_try
        self._journeys = journeys
        self._writes = asyncio.Semaphore(WRITES)
        self._waiting: deque[tuple[datetime, Notice]] = deque(maxlen=WAITING_LIMIT)
        self._forget_at = now()

    @property
    def allows_unsigned(self) -> bool:
        """Whether what carries no signature is let in."""
        return self._verifier.allows_unsigned

    def refused(self, head: Head) -> Outcome | None:
        """Return the refusal of a delivery by its head alone; None when its body is wanted."""
        if self._sources and not any(
            head.source is not None and head.source in network for network in self._sources
        ):
            return self._told(Outcome.FOREIGN)
        found = self._verifier.of_head(head)
        return None if found is None else self._told(found)

    async def hear(self, head: Head, body: bytes) -> Outcome:
        """Verify a delivery, write its events down, wake their withdrawals; return the outcome.

        Of several events that is: not written if it is one's; heard if it is one's; then duplicate,
        unknown, malformed.
        """
        if (refusal := await self._verifier.of_whole(head, body)) is not None:
            return self._told(refusal)
        # Not before: whoever reaches the port would fill the collector.
        with self._journeys.delivery(self.provider) as delivery:
            outcome, notices = await self._hear(body)
            woken = notices if delivery.wants_traces and outcome is Outcome.HEARD else ()
            delivery.heard(outcome, await self._traces(woken))
        return outcome

    async def _hear(self, body: bytes) -> tuple[Outcome, Sequence[Notice]]:
        """Hear a genuine delivery; return the outcome and the events that could be read."""
        hints = self._read(body)
        if hints is None:
            return self._told(Outcome.MALFORMED), ()
        notices = [
            Notice(_digest(self.provider, body, hint), hint.event, hint.ids)
            for hint in hints
            if hint is not None
        ]
        outcomes = await self._write(notices) + [Outcome.MALFORMED] * (len(hints) - len(notices))
        again_at = self._now() + self._second_try
        self._waiting.extend(
            (again_at, notice)
            for notice, outcome in zip(notices, outcomes, strict=False)
            if outcome is Outcome.UNKNOWN and notice.ids
        )
        # A delivery without events is about nothing of ours.
        for outcome in outcomes or (Outcome.UNKNOWN,):
            self._told(outcome)
        return next((one for one in _LOUDEST if one in outcomes), Outcome.UNKNOWN), notices

    async def _traces(self, woken: Sequence[Notice]) -> Sequence[str]:
        """Return the traces of the requests that are woken; those that cannot be read are none.

        Nothing about traces makes the provider repeat what lies there already.
        """
        ids = [name for notice in woken for name in notice.ids]
        if not ids:
            return ()
        try:
            async with asyncio.timeout(LINK_SECONDS):
                return await self._ledger.traces_of(self.provider, ids)
        except (TimeoutError, LedgerUnavailable):
            return ()
        except Exception:  # noqa: BLE001 - a bug, and it is stored
            _log.exception("webhook not linked", extra={"provider": self.provider})
            return ()

    async def run(self) -> None:
        """Try what was unknown once more, and forget what is old; for ever."""
        while True:
            self._beat()
            await self._try_again()
            await self._forget()
            await asyncio.sleep(_ROUND_SECONDS)

    def _told(self, outcome: Outcome) -> Outcome:
        self._counted(self.provider, outcome)
        return outcome

    async def _write(self, notices: Sequence[Notice]) -> list[Outcome]:
        """Write all that name anything, in one commit; return the outcome of each."""
        naming = [notice for notice in notices if notice.ids]
        fates: Iterable[str] = ()
        if naming:
            try:
                async with asyncio.timeout(WRITE_SECONDS), self._writes:
                    fates = await self._ledger.hear(self.provider, naming)
            except (TimeoutError, LedgerUnavailable, StepRefused):
                fates = repeat(Outcome.NOT_WRITTEN)
        told = iter(fates)
        return [Outcome(next(told)) if notice.ids else Outcome.UNKNOWN for notice in notices]

    async def _try_again(self) -> None:
        due: list[Notice] = []
        while self._waiting and self._waiting[0][0] <= self._now():
            due.append(self._waiting.popleft()[1])
        for outcome in await self._write(due):
            if outcome is Outcome.HEARD:
                self._told(Outcome.HEARD_LATE)

    async def _forget(self) -> None:
        if (now := self._now()) < self._forget_at:
            return
        try:
            # A few at a time; while there are more, go on in the next round.
            if not await self._ledger.forget_hints(now - KEPT_FOR):
                self._forget_at = now + _FORGET_EVERY
        except (LedgerUnavailable, StepRefused):
            self._forget_at = now + _FORGET_EVERY


#: What a delivery of several events comes to: the first of these that is an outcome of any.
_LOUDEST: Final = (
    Outcome.NOT_WRITTEN,
    Outcome.HEARD,
    Outcome.DUPLICATE,
    Outcome.UNKNOWN,
    Outcome.MALFORMED,
)


def _digest(provider: str, body: bytes, hint: Hint) -> bytes:
    """Return what tells an event from all others: whose it is, and its identity or its delivery."""
    if hint.identity is None:
        return hashlib.sha256(provider.encode() + b"\0" + body).digest()
    # No delivery begins with this byte, so no event is taken for one.
    return hashlib.sha256(f"{provider}\0\0{hint.identity}".encode()).digest()
