"""Short stories, each with one thing that goes wrong of itself; the blows come on top.

Data, and a few lines of script where time has to pass in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.crashes.bank import Manner
from tests.flows.house import PATIENCE
from worker.core.events import moment
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.crashes.world import World

_HOUR: Final = timedelta(hours=1)
_PAID: Final = frozenset({Status.COMPLETED})
_REJECTED: Final = frozenset({Status.REJECTED})
_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Story:
    """What happens: `script` in a world where the provider takes calls in these `manners`.

    `ends` are the statuses in which its requests may end, whatever strikes in between.
    """

    name: str
    script: Callable[[World], Awaitable[None]]
    manners: tuple[Manner, ...] = ()
    ends: frozenset[Status] = _PAID
    lag: timedelta = timedelta(0)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    async def play(self, world: World) -> None:
        """Let it happen, and everything come to its end."""
        world.bank.manners.extend(self.manners)
        world.bank.lag = self.lag
        await self.script(world)
        await world.to_the_end()


async def _one(world: World) -> None:
    world.ask()


async def _two(world: World) -> None:
    world.ask("req-1")
    world.ask("req-2")


async def _with_copies(world: World) -> None:
    world.ask(reply_to="answers")


async def _duplicate(world: World) -> None:
    world.ask()
    world.ask()


async def _late_duplicate(world: World) -> None:
    world.ask()
    await world.to_the_end()
    await world.pass_time(25 * _HOUR)
    world.ask()


async def _reused(world: World) -> None:
    world.ask()
    world.ask(amount="600.00")


async def _bad(world: World) -> None:
    world.ask(amount="-1")
    world.ask(None)


async def _outage_of_a_day(world: World) -> None:
    world.ask()
    await world.settle()
    await world.pass_time(25 * _HOUR)


async def _in_a_hurry(world: World) -> None:
    world.ask(not_after=moment(world.now() + 30 * _MOMENT))
    await world.settle()
    await world.pass_time(60 * _MOMENT)


async def _too_late(world: World) -> None:
    world.ask(not_after=moment(world.now() - _MOMENT))


_GONE: Final = (Manner.IS_SILENT,) * 3
_PAID_UNHEARD: Final = (Manner.PAYS_SILENTLY, Manner.IS_SILENT, Manner.IS_SILENT)
_NOT_SURE: Final = _PAID | _REJECTED

STORIES: Final = (
    Story("one request", _one),
    Story("two requests at once", _two),
    Story("a copy for the asker", _with_copies),
    Story("paid in silence", _one, (Manner.PAYS_SILENTLY,)),
    Story("silence", _one, _GONE),
    Story("refused", _one, (Manner.REFUSES,), _NOT_SURE),
    Story("paid in silence then refused", _one, (Manner.PAYS_SILENTLY, Manner.REFUSES)),
    Story("silent then refused", _one, (Manner.IS_SILENT, Manner.REFUSES), _NOT_SURE),
    Story(
        "paid late after a refusal and listed later",
        _one,
        (Manner.PAYS_LATE, Manner.REFUSES),
        lag=PATIENCE.settling,
    ),
    Story("conflict", _one, (Manner.PAYS_SILENTLY, Manner.CONFLICTS)),
    Story("throttled", _one, (Manner.THROTTLES, Manner.PAYS_SILENTLY)),
    Story("denied", _one, (Manner.DENIES, Manner.PAYS_SILENTLY)),
    Story("key expired and paid", _outage_of_a_day, _PAID_UNHEARD, lag=PATIENCE.settling),
    Story("key expired and not paid", _outage_of_a_day, _GONE),
    Story("key expired and paid late", _outage_of_a_day, (Manner.PAYS_LATE, *_GONE)),
    Story("duplicate in flight", _duplicate, (Manner.PAYS_SILENTLY,)),
    Story("duplicate a day later", _late_duplicate),
    Story("id used for other content", _reused),
    Story("invalid and nameless", _bad, ends=_REJECTED),
    Story("deadline passes in doubt", _in_a_hurry, _GONE, _NOT_SURE),
    Story("deadline passes when paid unheard", _in_a_hurry, _PAID_UNHEARD, _NOT_SURE),
    Story("deadline passed before", _too_late, ends=_REJECTED),
)
