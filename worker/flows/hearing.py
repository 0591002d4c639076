"""One webhook delivery: is it genuine, whom does it name, and wake that withdrawal.

It is written down before anybody is told that it was heard. It decides nothing about a withdrawal:
whoever takes the woken one up reads the truth from the provider."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.signatures import Flaw, Scheme, flaw, flaw_of_head, is_signed
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.flows.ports import Now

#: Deliveries that are written at once; the others wait. Payouts share their commits with no more.
WRITES: Final = 16
#: The provider may wait 5 s for an answer; what is not written by then is to be sent again.
WRITE_SECONDS: Final = 4.0
#: A delivery may come before the answer to our own call was written down. It is tried once more
#: after so long; of more than so many at once the oldest are given up. The polls find those.
SECOND_TRY: Final = timedelta(seconds=3)
WAITING_LIMIT: Final = 1000
#: Nobody repeats a delivery after so long: Bluum gives up after 11 hours (PW).
KEPT_FOR: Final = timedelta(days=7)
_FORGET_EVERY: Final = timedelta(hours=1)
_ROUND_SECONDS: Final = 1.0


class Outcome(StrEnum):
    """What became of a request at the webhooks' port: the closed set of the metric's results."""

    #: Written down, and its withdrawal woken.
    HEARD = "heard"
    #: Unknown at first and heard at the second try; counted beside its `unknown`.
    HEARD_LATE = "heard_late"
    DUPLICATE = "duplicate"
    #: Genuine, and about nothing of ours.
    UNKNOWN = "unknown"
    #: No signature, or a wrong one.
    FORGED = "forged"
    #: Its time is too far from ours.
    STALE = "stale"
    #: Not HTTP, or not a JSON object.
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


@dataclass(frozen=True, slots=True)
class Hint:
    """What a delivery is about: the kind of event, and ids that may be of a withdrawal of ours."""

    event: str | None
    ids: tuple[str, ...]


class Notebook(Protocol):
    """Where deliveries are written down."""

    async def hear(self, provider: str, digest: bytes, hint: Hint) -> str:
        """Write a delivery down and wake who it names: "heard", "duplicate" or "unknown"."""
        ...

    async def forget_hints(self, before: datetime) -> int:
        """Delete some deliveries that came before; return how many."""
        ...


class Hearing:
    """Hears the deliveries of one provider.

    Without a `scheme` nothing can be verified; that is accepted only with `allow_unsigned`, which
    lets in what carries no signature. `read` turns a body into a hint, None when it is no delivery.
    `counted` is told each outcome.
    """

    def __init__(
        self,
        provider: str,
        *,
        scheme: Scheme | None,
        allow_unsigned: bool,
        read: Callable[[bytes], Hint | None],
        ledger: Notebook,
        now: Now,
        counted: Callable[[str, Outcome], None],
        beat: Callable[[], None] = lambda: None,
        second_try: timedelta = SECOND_TRY,
    ) -> None:
        self.provider = provider
        self._scheme = scheme
        self.allows_unsigned = allow_unsigned
        self._read = read
        self._ledger = ledger
        self._now = now
        self._counted = counted
        self._beat = beat
        self._second_try = second_try
        self._writes = asyncio.Semaphore(WRITES)
        self._waiting: deque[tuple[datetime, bytes, Hint]] = deque(maxlen=WAITING_LIMIT)
        self._forget_at = now()

    def refused(self, headers: Mapping[str, str]) -> Outcome | None:
        """Return the refusal of a delivery by its headers alone; None when its body is wanted.

        `headers` have names in lower case.
        """
        found = self._flaw(headers, None)
        return None if found is None else self._told(Outcome(found.value))

    async def hear(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Verify a delivery, write it down, wake its withdrawal; return what became of it."""
        found = self._flaw(headers, body)
        if found is not None:
            return self._told(Outcome(found.value))
        hint = self._read(body)
        if hint is None:
            return self._told(Outcome.MALFORMED)
        digest = _digest(self.provider, body)
        outcome = await self._write(digest, hint)
        if outcome is Outcome.UNKNOWN and hint.ids:
            self._waiting.append((self._now() + self._second_try, digest, hint))
        return self._told(outcome)

    async def run(self) -> None:
        """Try what was unknown once more, and forget what is old; for ever."""
        while True:
            self._beat()
            await self._try_again()
            await self._forget()
            await asyncio.sleep(_ROUND_SECONDS)

    def _flaw(self, headers: Mapping[str, str], body: bytes | None) -> Flaw | None:
        """Return what is wrong with a delivery, without its body by the headers alone."""
        if self.allows_unsigned and not (self._scheme and is_signed(self._scheme, headers)):
            return None
        if self._scheme is None:
            return Flaw.FORGED
        if body is None:
            return flaw_of_head(self._scheme, headers, now=self._now())
        return flaw(self._scheme, headers, body, now=self._now())

    def _told(self, outcome: Outcome) -> Outcome:
        self._counted(self.provider, outcome)
        return outcome

    async def _write(self, digest: bytes, hint: Hint) -> Outcome:
        if not hint.ids:
            return Outcome.UNKNOWN
        try:
            async with asyncio.timeout(WRITE_SECONDS), self._writes:
                return Outcome(await self._ledger.hear(self.provider, digest, hint))
        except (TimeoutError, LedgerUnavailable, StepRefused):
            return Outcome.NOT_WRITTEN

    async def _try_again(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._now():
            self._beat()
            _, digest, hint = self._waiting.popleft()
            if await self._write(digest, hint) is Outcome.HEARD:
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


def _digest(provider: str, body: bytes) -> bytes:
    """Return what tells a delivery from others: its exact body, and whose it is."""
    return hashlib.sha256(provider.encode() + b"\0" + body).digest()
