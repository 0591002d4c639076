"""Short stories, each with one thing that goes wrong of itself; the blows come on top.

Data, and a few lines of script where time has to pass in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.crashes.bank import CUT_SHORT, TIMEOUT, Manner
from tests.flows.house import PATIENCE
from worker.core.events import moment
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.crashes.world import World

_HOUR: Final = timedelta(hours=1)
_PAID: Final = frozenset({Status.COMPLETED})
_REJECTED: Final = frozenset({Status.REJECTED})
_CANCELLED: Final = frozenset({Status.CANCELLED})
_TWO_ORDERS: Final = ({"symbol": "AAPL", "quantity": "3"}, {"symbol": "MSFT", "quantity": "2"})
_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Story:
    """What happens: `script` in a world where the provider takes calls in these `manners`.

    `manners` are those of create calls, `order_manners` and `cancel_manners` of the others.
    `ends` are the statuses in which its requests may end, whatever strikes in between.
    """

    name: str
    script: Callable[[World], Awaitable[None]]
    manners: tuple[Manner, ...] = ()
    ends: frozenset[Status] = _PAID
    lag: timedelta = timedelta(0)
    order_manners: tuple[Manner, ...] = ()
    cancel_manners: tuple[Manner, ...] = ()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    async def play(self, world: World) -> None:
        """Let it happen, and everything come to its end."""
        world.bank.manners.extend(self.manners)
        world.bank.order_manners.extend(self.order_manners)
        world.bank.cancel_manners.extend(self.cancel_manners)
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


async def _waits_for_funds(world: World) -> None:
    world.ask(wait_for_funds_until=moment(world.now() + 5 * _HOUR))


async def _cancelled_before(world: World) -> None:
    world.cancel()
    await world.settle()
    world.ask()


async def _cancelled_at_once(world: World) -> None:
    world.ask()
    world.cancel()


async def _cancelled(world: World) -> None:
    world.ask()
    await world.settle()
    world.cancel()


async def _cancelled_during_a_call(world: World) -> None:
    world.ask()
    await asyncio.sleep(TIMEOUT.total_seconds() / 2)
    world.cancel()


async def _cancelled_in_vain(world: World) -> None:
    world.cancel()


async def _cancelled_thrice(world: World) -> None:
    """Each of them wakes what is in doubt."""
    world.ask()
    for number in range(1, 4):
        await world.settle()
        world.cancel(f"cancel-{number}")


async def _cancelled_late(world: World) -> None:
    """One comes when it is processing and again when it is over, and then another."""
    world.ask()
    await world.settle()
    world.loop.jump(20)
    world.cancel()
    await world.to_the_end()
    world.cancel()
    world.cancel("cancel-2")


async def _sale(world: World) -> None:
    world.ask(sell=_TWO_ORDERS)


async def _sale_cut_short(world: World) -> None:
    world.bank.course = CUT_SHORT
    world.ask(sell=_TWO_ORDERS[:1])


async def _sale_cancelled(world: World) -> None:
    world.ask(sell=_TWO_ORDERS)
    await world.settle()
    world.cancel()


async def _reversed(world: World) -> None:
    """By then nobody looks at it by himself."""
    world.ask()
    await world.to_the_end()
    world.bank.reverse()
    world.notify("wd_1")


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
    Story("funds come later", _waits_for_funds, (Manner.REFUSES, Manner.REFUSES)),
    Story("cancelled before it came", _cancelled_before, ends=_CANCELLED),
    Story("cancelled as it came", _cancelled_at_once, ends=_CANCELLED | _PAID),
    Story(
        "cancelled when paid unheard",
        _cancelled_during_a_call,
        _PAID_UNHEARD,
        ends=_CANCELLED | _PAID,
        lag=PATIENCE.settling,
    ),
    Story(
        "cancelled thrice in doubt",
        _cancelled_thrice,
        (Manner.PAYS_LATE, *_GONE),
        ends=_CANCELLED | _PAID,
    ),
    Story(
        "cancelled unheard while pending",
        _cancelled,
        cancel_manners=(Manner.PAYS_SILENTLY,),
        ends=_CANCELLED | _PAID,
    ),
    Story("cancelled too late and again", _cancelled_late),
    Story("cancelled and never asked", _cancelled_in_vain),
    Story(
        "sale unheard and lost",
        _sale,
        order_manners=(Manner.PAYS_SILENTLY, Manner.IS_SILENT),
        lag=PATIENCE.settling,
    ),
    Story("sale cut short", _sale_cut_short, ends=_REJECTED),
    Story("sale cancelled", _sale_cancelled, ends=_CANCELLED | _PAID),
    Story("reversed", _reversed, ends=frozenset({Status.FAILED})),
)
