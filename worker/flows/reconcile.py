"""Going through the provider's lists, party by party, and comparing them with the ledger.

Nothing is decided about a withdrawal here: where the provider is further on, the worker is asked to
look. The provider lists no parties, so those are gone through that the ledger knows."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.answers import Denied, ListAnswer, Listed, Refused, Throttled, Unclear
from worker.core.lookup import references
from worker.core.reconciliation import Kind, Reading, compare, unreadable
from worker.core.ruling import unread
from worker.core.withdrawal import ReasonCode
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Mapping,
    )
    from datetime import date

    from worker.core.reconciliation import Booked, Finding, PartiesPage, Period
    from worker.flows.ports import Now

_log = logging.getLogger(__name__)

#: So often a list is asked for that could not be read, with a growing pause in between.
TRIES: Final = 3
_PAUSE: Final = timedelta(seconds=1)
#: So often a call is put off by the rate limit, for at most so long, before it is given up.
_PUT_OFF_MAX: Final = 20
_PUT_OFF: Final = timedelta(minutes=1)


class Surveyor(Protocol):
    """Reads the provider's list."""

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all withdrawals of a party over some days, in the class of looks."""
        ...


class ReconciliationLedger(Protocol):
    """Knows the parties and their rows, and wakes rows."""

    async def span(self, period: Period) -> tuple[int, int]:
        """Return a number below the first row of a period, and that of the last."""
        ...

    async def parties(
        self, period: Period, *, after: int, last: int, provider: str | None = None
    ) -> PartiesPage:
        """Return some of the parties that have requests in a period, beyond the row `after`."""
        ...

    async def booked(self, provider: str, party_id: str, period: Period) -> list[Booked]:
        """Return the rows of a party of a period, and those from before that are unfinished."""
        ...

    async def explaining(
        self, provider: str, party_id: str, *, ids: Collection[str], references: Collection[str]
    ) -> list[Booked]:
        """Return the rows that own these ids, and the party's that these tokens are of."""
        ...

    async def wake(self, rows: Collection[int]) -> None:
        """Let these rows be taken up now."""
        ...


class Repair(StrEnum):
    """What becomes of a finding."""

    #: The worker looks at it, and decides and tells of it then.
    WILL_BE_LOOKED_AT = "will be looked at"
    #: The same, as soon as there is one.
    NEEDS_A_WORKER = "needs a running worker"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and what becomes of it."""

    finding: Finding
    repair: Repair

    @property
    def is_repaired(self) -> bool:
        """Whether nobody has to act because of it."""
        return self.repair is Repair.WILL_BE_LOOKED_AT


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of one party: its findings, how much was read, and how far the walk has got.

    `is_denied` tells that the provider does not accept the credentials: the others need not be
    tried.
    """

    provider: str
    party_id: str
    rows: int
    listed: int
    found: tuple[Found, ...]
    is_denied: bool = False
    place: int = 0


class Reconciliation:
    """Compares the provider's lists with the ledger.

    `settling` is how long a list may lag behind its own effects; `is_served` tells whether a worker
    will look at what is woken.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Surveyor],
        ledger: ReconciliationLedger,
        now: Now,
        settling: timedelta,
        is_served: Callable[[], Awaitable[bool]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._now = now
        self._settling = settling
        self._is_served = is_served
        self._sleep = sleep

    @property
    def providers(self) -> Collection[str]:
        """The names of the providers that are enabled."""
        return self._providers.keys()

    async def walk(
        self,
        period: Period,
        *,
        after: int,
        last: int,
        provider: str | None = None,
        besides: Collection[tuple[str, str]] = (),
    ) -> AsyncIterator[Compared]:
        """Compare the parties that have requests in a period, one after the other.

        From the row behind `after` to `last`; each tells by its `place` how far that is. Those
        `besides` which it is to be, as (provider, party), are left out, and those of providers that
        are not enabled. Raises LedgerUnavailable.
        """
        while after < last:
            page = await self._ledger.parties(period, after=after, last=last, provider=provider)
            for party in page.parties:
                is_given = (party.provider, party.party_id) in besides
                if is_given or party.provider not in self._providers:
                    continue
                compared = await self._safely(party.provider, party.party_id, period)
                yield replace(compared, place=party.row)
            after = page.place

    async def party(self, provider: str, party_id: str, period: Period) -> Compared:
        """Compare one party, and wake what the provider is further on with.

        The order of reading is the meaning of what was read: rows, list, rows (see the core).
        """
        before = await self._ledger.booked(provider, party_id, period)
        listed_at = self._now()
        answer = await self._survey(provider, party_id, period)
        if _knows_nobody(answer) and before and not any(row.withdrawal_id for row in before):
            # A party that the provider does not know, and of which it was never given anything.
            answer = Listed(())
        if not isinstance(answer, Listed):
            finding = unreadable(provider, party_id, unread(answer))
            is_denied = isinstance(answer, Denied)
            return _unread(finding, rows=len(before), is_denied=is_denied)
        reading = Reading(
            provider=provider,
            party_id=party_id,
            period=period,
            settling=self._settling,
            listed_at=listed_at,
            entries=answer.entries,
            before=tuple(before),
            after=await self._rows_after(provider, party_id, period, answer),
        )
        return Compared(
            provider=provider,
            party_id=party_id,
            rows=len(reading.after),
            listed=len(answer.entries),
            found=await self._repaired(compare(reading)),
        )

    async def _safely(self, provider: str, party_id: str, period: Period) -> Compared:
        try:
            return await self.party(provider, party_id, period)
        except (LedgerUnavailable, StepRefused):
            raise
        except Exception:  # noqa: BLE001
            # A bug that one party sets off must not hide what is wrong with the others.
            _log.exception("party not compared", extra={"provider": provider, "party_id": party_id})
            finding = unreadable(provider, party_id, "a fault of the worker's: see its log")
            return _unread(finding, rows=0)

    async def _rows_after(
        self, provider: str, party_id: str, period: Period, answer: Listed
    ) -> tuple[Booked, ...]:
        """Return the party's rows, and those of before the period that explain an entry."""
        rows = await self._ledger.booked(provider, party_id, period)
        known = {row.withdrawal_id for row in rows}
        others = [e for e in answer.entries if e.reported.withdrawal_id not in known]
        ids = {entry.reported.withdrawal_id for entry in others}
        tokens = {token for entry in others for token in references(entry)}
        if ids:
            rows += await self._ledger.explaining(provider, party_id, ids=ids, references=tokens)
        return tuple({row.row: row for row in rows}.values())

    async def _repaired(self, findings: Iterable[Finding]) -> tuple[Found, ...]:
        """Let a worker look where a look helps."""
        known = tuple(findings)
        rows = {f.row for f in known if f.kind is Kind.STATUS_DRIFT and f.row is not None}
        repair = Repair.NONE
        if rows:
            await self._ledger.wake(rows)
            served = await self._is_served()
            repair = Repair.WILL_BE_LOOKED_AT if served else Repair.NEEDS_A_WORKER
        return tuple(
            Found(finding, repair if finding.kind is Kind.STATUS_DRIFT else Repair.NONE)
            for finding in known
        )

    async def _survey(self, provider: str, party_id: str, period: Period) -> ListAnswer:
        """Read a party's list, patiently."""
        surveyor, (first, last) = self._providers[provider], period.days
        tries = put_off = 0
        while True:
            answer = await surveyor.survey(party_id, first, last)
            if isinstance(answer, Throttled) and put_off < _PUT_OFF_MAX:
                put_off += 1
                pause = min(answer.retry_after or _PAUSE, _PUT_OFF)
            elif isinstance(answer, Unclear) and tries < TRIES - 1:
                tries += 1
                pause = min(max(answer.retry_after or _PAUSE, tries * _PAUSE), _PUT_OFF)
            else:
                return answer
            await self._sleep(pause.total_seconds())


def _unread(finding: Finding, *, rows: int, is_denied: bool = False) -> Compared:
    return Compared(
        provider=finding.provider,
        party_id=finding.party_id,
        rows=rows,
        listed=0,
        found=(Found(finding, Repair.NONE),),
        is_denied=is_denied,
    )


def _knows_nobody(answer: ListAnswer) -> bool:
    return isinstance(answer, Refused) and answer.reason.code is ReasonCode.NOT_FOUND
