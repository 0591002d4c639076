"""Replaying dead letters: first a plan, then letter by letter, each gone only once it is sent.

Where the order is the meaning. A letter is published to where it came from; once the broker has
confirmed it, the letter is removed. Whoever is interrupted in between leaves both: the message is
delivered twice then, which the ledger recognises. The ledger's books are told before the message
goes out: it may come back as a new dead letter at once, and that one has to be counted.

Letters are fetched one by one; those that are not meant are held until the end, so that none is
fetched again, and put back. Nothing here decides what a replay leads to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from worker.core.burials import identity
from worker.core.replay import Asks, Forecaster, Letter, Plan, Planned, Prospect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from worker.core.messages import Envelope
    from worker.core.replay import Known, Reading, Selection
    from worker.flows.ports import Now

#: So many letters are looked up in the ledger at once.
_BATCH: Final = 200


class Grave(Protocol):
    """One dead letter in hand; `properties` are its own, encoded as they lie in the queue."""

    letter: Letter
    properties: bytes

    @property
    def body(self) -> bytes:
        """The original body."""
        ...

    def envelope(self) -> Envelope | None:
        """Return the message as a worker will see it; None when it cannot be read."""
        ...

    async def resend(self) -> bool:
        """Publish it to where it came from; False when the broker will not take it."""
        ...

    async def remove(self) -> None:
        """Take it out of the queue."""
        ...


class Graveyard(Protocol):
    """The dead-letter queue."""

    @property
    def has_held_long(self) -> bool:
        """Whether what is held should be put back soon."""
        ...

    async def next(self) -> Grave | None:
        """Fetch a letter that nobody holds."""
        ...

    async def put_back(self) -> None:
        """Put back what was fetched and not removed."""
        ...


class Registry(Protocol):
    """Knows requests by their ids."""

    async def known(self, message_ids: Collection[str]) -> dict[str, Known]:
        """Return what is known of these."""
        ...


class Books(Protocol):
    """Counts the dead letters."""

    async def dead_letter_left(self, identity: bytes, how: Literal["replayed", "dropped"]) -> None:
        """Count one less."""
        ...


@dataclass(slots=True)
class Outcome:
    """What a run has done so far; `refused` were not taken by the broker and stay.

    `replayed` were sent, each confirmed. After an interruption the last may lie in the queue still.
    """

    replayed: int = 0
    refused: int = 0


async def plan(
    graveyard: Graveyard,
    registry: Registry,
    *,
    selection: Selection,
    force: bool,
    understand: Callable[[Letter, Envelope], Reading],
    now: Now,
) -> Plan:
    """Read every letter, forecast those that are meant, and put all of them back.

    What needs a person goes only by `force`, and only if it is named by its id. Raises
    LedgerUnavailable.
    """
    forecaster = Forecaster()
    planned: list[Planned] = []
    batch: list[tuple[Letter, Reading | None]] = []

    async def forecast_batch() -> None:
        ids = {_requested(*one) for one in batch} - {None}
        known = await registry.known([one for one in ids if one is not None])
        for letter, message in batch:
            found = known.get(_requested(letter, message) or "")
            forecast = forecaster(letter, message, found, now=now())
            goes = forecast.prospect is not Prospect.PERSON or (force and selection.names(letter))
            planned.append(Planned(letter, forecast, goes))
        batch.clear()

    while (grave := await graveyard.next()) is not None:
        if selection.takes(grave.letter, now=now()):
            envelope = grave.envelope()
            read = None if envelope is None else understand(grave.letter, envelope)
            batch.append((grave.letter, read))
        if len(batch) == _BATCH:
            await forecast_batch()
    if batch:
        await forecast_batch()
    await graveyard.put_back()
    return Plan(tuple(planned))


async def replay(
    graveyard: Graveyard,
    letters: Iterable[str],
    *,
    outcome: Outcome,
    turn: Callable[[], Awaitable[None]],
    told: Callable[[Outcome], None],
    books: Books | None,
) -> None:
    """Replay the letters with these ids, each after `turn`; `outcome` is kept up to date.

    Returns once they are through or nothing is left to fetch: what somebody else replayed, dropped
    or holds meanwhile is not waited for. Raises PublishUnroutable or PublishUnconfirmed when going
    on makes no sense; the rest is as it was.
    """
    waiting = Counter(letters)
    while waiting.total() and (grave := await _next(graveyard)) is not None:
        if not waiting[grave.letter.id]:
            continue
        waiting[grave.letter.id] -= 1
        await turn()
        if books is not None and _is_in_the_books(grave):
            await books.dead_letter_left(_identity(grave), "replayed")
        if await grave.resend():
            # Before it is removed: who is interrupted there has sent it, and is told so.
            outcome.replayed += 1
            await grave.remove()
        else:
            outcome.refused += 1
        told(outcome)
    await graveyard.put_back()


async def drop(
    graveyard: Graveyard,
    letters: Iterable[str],
    *,
    keep: Callable[[Grave], None],
    books: Books | None,
) -> int:
    """Remove the letters with these ids, and return how many there were.

    `keep` is called before one is removed: what it writes down may be there twice after an
    interruption, and is never missing.
    """
    waiting = Counter(letters)
    dropped = 0
    while waiting.total() and (grave := await _next(graveyard)) is not None:
        if not waiting[grave.letter.id]:
            continue
        waiting[grave.letter.id] -= 1
        keep(grave)
        if books is not None and _is_in_the_books(grave):
            await books.dead_letter_left(_identity(grave), "dropped")
        await grave.remove()
        dropped += 1
    await graveyard.put_back()
    return dropped


def _requested(letter: Letter, message: Reading | None) -> str | None:
    """Return the id under which the ledger may know a letter as a request."""
    if message is None or letter.asks is Asks.CANCELLATION:
        return None
    return message.context.message_id


def _is_in_the_books(grave: Grave) -> bool:
    # They count requests, and a cancellation is none.
    return grave.letter.asks is not Asks.CANCELLATION


def _identity(grave: Grave) -> bytes:
    envelope = grave.envelope()
    return identity(None if envelope is None else envelope.message_id, grave.body)


async def _next(graveyard: Graveyard) -> Grave | None:
    if graveyard.has_held_long:
        await graveyard.put_back()
    return await graveyard.next()
