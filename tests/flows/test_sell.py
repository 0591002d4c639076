"""Selling first: one order after the other, each placed once whatever goes wrong, then the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.flows.flaky import FlakyLedger, Line
from tests.flows.house import PATIENCE, House, die, open_house
from tests.flows.market import Word
from tests.ledger import second
from worker.core.answers import Conflicted, Denied, NotNow, Refused, Throttled, Trace, Unclear
from worker.core.limits import EMPTY_LOOKUPS_NEEDED, SETTLEMENT_WAITED_FOR
from worker.core.ruling import Adopt, Inadmissible, NotCreated
from worker.core.sale import OrderReport, SaleStatus, sale_key
from worker.core.selling import CLOSED_MARKET_WAITED_FOR
from worker.core.withdrawal import Errand, Reason, ReasonCode, Status
from worker.flows.ports import LedgerUnavailable
from worker.flows.rulings import Rulings
from worker.flows.sell import Selling
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.core.change import Held
    from worker.core.ruling import Ruling
    from worker.core.sale import Sale
    from worker.core.withdrawal import Withdrawal


class Dead(FlakyLedger):
    """The ledger of a worker whose signs of life are too old."""

    @property
    def tenure(self) -> int | None:
        """It may not act on anything."""
        return None


SILENCE: Final = Unclear("timeout")
TOO_FEW: Final = Refused(Reason(ReasonCode.REFUSED, "B-4"), Trace(provider_code="B-4"))
CLOSED: Final = NotNow(Trace(provider_code="B-2"))
ONE: Final = [{"symbol": "AAPL", "quantity": "3"}]
TWO: Final = [*ONE, {"symbol": "MSFT", "quantity": "1.5"}]


async def sell(house: House, *stocks: dict[str, str], **changes: Any) -> None:  # noqa: ANN401
    """Take a request in that sells first, and go as far as that gets at once."""
    await house.deliver(sell=list(stocks or TWO), **changes)
    await house.step()


async def withdrawal(house: House) -> Withdrawal:
    """Where it stands."""
    return (await house.known()).held.withdrawal


async def sale(house: House, index: int = 0) -> Sale:
    """Where one of its orders stands."""
    return (await withdrawal(house)).sales[index]


async def told(house: House) -> dict[str, Any]:
    """The body of its newest event."""
    rows = await house.ledger.unannounced([(await house.known()).held.row])
    body: dict[str, Any] = json.loads(rows[-1].body)
    return body


async def later(house: House, by: timedelta = PATIENCE.looks.cap) -> None:
    """Let time pass, and take up what is due by then, until nothing is."""
    house.clock.at += by
    while await house.step():
        pass


async def look_up(house: House, times: int = EMPTY_LOOKUPS_NEEDED) -> None:
    """Let the next look-ups become due, and do them."""
    for _ in range(times):
        await later(house, PATIENCE.settling)


async def want_cancelled(house: House) -> None:
    """Cancel it from outside, whoever works on it."""
    await second.write(house.url, "UPDATE withdrawals SET cancel_wanted = TRUE, woken_at = 1")


async def test_the_orders_are_placed_filled_and_then_it_is_withdrawn(house: House) -> None:
    """
    Each once, with its own key and the bytes of the intake; the fills stand in the events.
    """
    await sell(house)
    raising = await told(house)
    house.bank.market.fill()
    await later(house)

    assert ["sell", "sell", "order", "order"] == house.bank.market.called
    assert [sale.body for sale in (await withdrawal(house)).sales] == house.bank.market.bodies
    assert [sale_key("req-1", 0), sale_key("req-1", 1)] == [
        order["client_order_id"] for order in raising["orders"]
    ]
    assert ["open", "open"] == [order["status"] for order in raising["orders"]]
    assert ["received", "raising_cash", "pending"] == await house.events()
    assert {
        "index": 1,
        "client_order_id": sale_key("req-1", 1),
        "order_id": "ord_2",
        "symbol": "MSFT",
        "quantity": "1.5",
        "cash_amount": None,
        "status": "filled",
        "filled_quantity": "1.5",
        "average_price": "10.00",
    } == (await told(house))["orders"][1]
    assert 1 == len(house.bank.paid)


# --- nobody knows what came of a call -------------------------------------------------------------


@pytest.mark.parametrize("executes", [True, False])
async def test_after_silence_the_list_is_read_before_anything_else(
    house: House, *, executes: bool
) -> None:
    """
    Executed or not: it was placed once in the end, with the same bytes.
    """
    house.bank.market.say(SILENCE, executes=executes)
    await sell(house)
    doubted = await sale(house)
    await later(house)
    await look_up(house)
    market = house.bank.market

    assert SaleStatus.UNKNOWN is doubted.status
    assert 2 == len(market.book)
    assert {sale.key for sale in (await withdrawal(house)).sales} == {
        order.client_order_id for order in market.book.values()
    }
    assert ["sell", "orders"] == market.called[:2]
    assert (2 if executes else 3) == len(market.bodies)
    assert Status.RAISING_CASH is await house.status()


async def test_hints_make_no_look_up_count_twice(house: House) -> None:
    """
    Woken again and again within a settling delay, the list is read, and nothing placed.
    """
    house.bank.market.say(SILENCE)
    await sell(house, *ONE)
    for _ in range(2 * EMPTY_LOOKUPS_NEEDED):
        await second.write(house.url, "UPDATE withdrawals SET woken_at = 1")
        await house.step()

    assert 1 == len(house.bank.market.bodies)
    assert 1 == (await sale(house)).empty_lookups


async def test_a_call_that_executes_late_sells_once(house: House) -> None:
    """
    Too few shares are left for the second one, because the first had sold them: it is adopted.
    """
    market = house.bank.market
    market.say(SILENCE, executes=True)
    market.hidden.add("ord_1")
    market.says.append(Word(TOO_FEW))
    await sell(house, *ONE)
    await look_up(house)
    refused = await sale(house)
    market.hidden.clear()
    await look_up(house, 1)

    assert (SaleStatus.UNKNOWN, TOO_FEW.reason) == (refused.status, refused.reason)
    assert ("ord_1", SaleStatus.OPEN) == ((await sale(house)).order_id, (await sale(house)).status)
    assert 1 == len(market.book)


async def test_an_order_that_could_be_it_needs_a_person(house: House) -> None:
    """
    Without a client_order_id likeness proves nothing; and nothing is placed on top of it.
    """
    house.bank.market.nameless = True
    house.bank.market.say(SILENCE, executes=True)
    await sell(house)
    await later(house)

    assert ["received", "unresolved"] == await house.events()
    assert ReasonCode.SEVERAL_CANDIDATES.value == (await told(house))["reason"]["code"]
    assert ["unknown", "planned"] == [one["status"] for one in (await told(house))["orders"]]
    assert 1 == len(house.bank.market.bodies)


async def test_what_raises_cash_for_another_request_is_no_candidate(house: House) -> None:
    """
    Two requests sell alike; the list shows no client_order_id: the first one's is not taken.
    """
    market = house.bank.market
    await sell(house, *ONE)
    market.nameless = True
    market.say(SILENCE)
    await house.deliver("req-2", sell=ONE)
    await house.step()
    await look_up(house)

    assert Status.RAISING_CASH is await house.status("req-2")
    assert 2 == len(market.book)


async def test_a_conflict_is_looked_up_and_adopted(house: House) -> None:
    """
    The provider knows the order: the list tells which it is.
    """
    house.bank.market.say(Conflicted(), executes=True)
    await sell(house, *ONE)
    await look_up(house, 1)

    assert "ord_1" == (await sale(house)).order_id
    assert 1 == len(house.bank.market.bodies)


async def test_a_list_that_cannot_be_read_decides_nothing(house: House) -> None:
    """
    Refused, silent, throttled or denied: it is read again, and nothing is placed.
    """
    answers = (SILENCE, TOO_FEW, Throttled(), Denied())
    house.bank.market.say(SILENCE)
    house.bank.market.lists.extend(answers)
    await sell(house, *ONE)
    for _ in answers:
        await later(house)

    assert (SaleStatus.UNKNOWN, 0) == (
        (await sale(house)).status,
        (await sale(house)).empty_lookups,
    )
    assert ["bank"] == house.denied
    assert 1 == len(house.bank.market.bodies)


# --- the worker dies, or is taken for dead --------------------------------------------------------


@pytest.mark.parametrize("line", [Line.CUT_BEFORE, Line.CUT_AFTER])
async def test_an_outcome_that_was_not_recorded_is_found(house: House, line: Line) -> None:
    """
    The order is at the provider and nobody wrote that down: whoever takes it up adopts it.
    """

    async def cut() -> None:
        house.line.line = line

    market = house.bank.market
    market.says.append(Word(SILENCE, executes=True, meanwhile=cut))
    await house.deliver(sell=ONE)
    with pytest.raises(LedgerUnavailable):
        await house.step()
    house.line.line = Line.WHOLE
    await die(house)
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        await later(other, timedelta(minutes=1))

    assert 1 == len(market.bodies)
    assert ["received", "raising_cash"] == await house.events()


async def test_an_intent_that_nobody_saw_leave_is_looked_up(house: House) -> None:
    """
    The worker dies between the commit and the call: nothing is placed before the list was read.
    """
    await house.deliver(sell=ONE)
    (held,) = await house.ledger.claim_due(1, busy=())
    house.line.line = Line.CUT_AFTER
    with pytest.raises(LedgerUnavailable):
        await house.follow.take_step(held)
    house.line.line = Line.WHOLE
    market = house.bank.market
    await house.step()
    before = list(market.called)
    await look_up(house, EMPTY_LOOKUPS_NEEDED - 1)

    assert ["orders"] == before
    assert [*["orders"] * EMPTY_LOOKUPS_NEEDED, "sell"] == market.called


async def test_a_worker_that_was_taken_for_dead_places_nothing(house: House) -> None:
    """
    Its signs of life are too old when the call is to leave.
    """
    await house.deliver(sell=ONE)
    (held,) = await house.ledger.claim_due(1, busy=())
    selling = Selling(
        providers=house.providers,
        ledger=Dead(house.ledger),
        announcer=house.told,
        observer=house.counted,
        now=house.ledger.now,
        patience=PATIENCE,
        chance=lambda: 0.5,
        denied=house.denied.append,
    )
    await selling.run(held)

    assert [] == house.bank.market.called
    assert SaleStatus.PLANNED is (await sale(house)).status


# --- refused, closed, ended -----------------------------------------------------------------------


async def test_a_refused_order_ends_it_and_cancels_the_others(house: House) -> None:
    """
    The one before it is cancelled and followed to its end; its fill stays visible.
    """
    market = house.bank.market
    market.becomes = SaleStatus.PARTIAL
    await house.deliver(sell=TWO)
    market.say(SILENCE, executes=True)
    await house.step()
    market.move("ord_1", SaleStatus.PARTIAL, "2")
    market.say(TOO_FEW)
    await later(house)
    event = await told(house)

    assert ["received", "rejected"] == await house.events()
    assert ("sale_refused", "B-4") == (event["reason"]["code"], event["reason"]["provider_code"])
    assert [("cancelled", "2"), ("refused", "0")] == [
        (order["status"], order["filled_quantity"]) for order in event["orders"]
    ]
    assert [] == house.bank.paid


@pytest.mark.parametrize("end", [SaleStatus.CANCELLED, SaleStatus.FAILED])
async def test_an_order_that_ends_unfilled_ends_it(house: House, end: SaleStatus) -> None:
    """
    Partly filled or not; the other one is cancelled, and what it sold until then is told.
    """
    await sell(house)
    market = house.bank.market
    market.move("ord_1", end, "1")
    market.move("ord_2", SaleStatus.PARTIAL, "0.5")
    await later(house)
    event = await told(house)

    assert ["received", "raising_cash", "rejected"] == await house.events()
    assert "sale_ended" == event["reason"]["code"]
    assert [(end.value, "1"), ("cancelled", "0.5")] == [
        (order["status"], order["filled_quantity"]) for order in event["orders"]
    ]


async def test_a_closed_market_is_waited_for(house: House) -> None:
    """
    On a growing schedule; nobody is told, and once it opens the order is placed.
    """
    house.bank.market.says.extend([Word(CLOSED)] * 5)
    await sell(house, *ONE)
    due = []
    for _ in range(5):
        at = (await withdrawal(house)).due_at
        assert at is not None
        due.append(at - house.clock.at)
        await later(house, due[-1])

    assert sorted(due) == due
    assert due[0] < due[-1]
    assert ["received", "raising_cash"] == await house.events()


async def test_a_market_that_stays_closed_ends_it(house: House) -> None:
    """
    After four days, with the provider's code.
    """
    house.bank.market.says.extend([Word(CLOSED)] * 500)
    await sell(house, *ONE)
    begun = house.clock.at
    while not (await withdrawal(house)).is_finished:
        await later(house)

    assert CLOSED_MARKET_WAITED_FOR <= house.clock.at - begun < timedelta(days=4, hours=1)
    assert ("sale_refused", "B-2") == (
        (await told(house))["reason"]["code"],
        (await told(house))["reason"]["provider_code"],
    )


async def test_nothing_is_placed_after_not_after(house: House) -> None:
    """
    Checked before every call: what rests is cancelled, and it has expired.
    """
    until = house.clock.at + timedelta(hours=1)
    house.bank.market.say(Throttled(timedelta(hours=1)))
    await sell(house, not_after=until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    await later(house, timedelta(hours=1, seconds=1))

    assert ["received", "rejected"] == await house.events()
    assert "expired" == (await told(house))["reason"]["code"]
    assert ["sell"] == house.bank.market.called


# --- cancelled meanwhile --------------------------------------------------------------------------


async def test_a_cancellation_cancels_open_orders_first(house: House) -> None:
    """
    It is `cancelled` once each has ended, with what was sold by then, and nothing is withdrawn.
    """
    await sell(house)
    house.bank.market.move("ord_1", SaleStatus.FILLED)
    house.bank.market.cancels.extend([Conflicted(), Conflicted()])
    await want_cancelled(house)
    await house.step()
    open_still = await house.status()
    await later(house)
    event = await told(house)

    assert Status.RAISING_CASH is open_still
    assert ("cancelled", "cancelled_on_request") == (event["status"], event["reason"]["code"])
    assert [("filled", "3"), ("cancelled", "0")] == [
        (order["status"], order["filled_quantity"]) for order in event["orders"]
    ]
    assert not (await withdrawal(house)).cancel_wanted
    assert [] == house.bank.paid


async def test_a_cancellation_in_doubt_waits_for_the_list(house: House) -> None:
    """
    What may have been placed is looked for before it is cancelled, and nothing more is placed.
    """
    house.bank.market.say(SILENCE, executes=True)
    await sell(house)
    await want_cancelled(house)
    await house.step()

    assert ["sell", "orders", "cancel", "order"] == house.bank.market.called
    assert ["received", "cancelled"] == await house.events()
    assert [SaleStatus.CANCELLED, SaleStatus.NOT_PLACED] == [
        sale.status for sale in (await withdrawal(house)).sales
    ]


async def test_a_cancellation_before_anything_was_placed_reaches_nobody(house: House) -> None:
    """
    The provider never hears of the request.
    """
    await house.deliver(sell=TWO)
    await want_cancelled(house)
    await house.step()

    assert [] == house.bank.market.called
    assert ["received", "cancelled"] == await house.events()


async def test_a_cancellation_between_intent_and_call_stops_the_call(house: House) -> None:
    """
    It is neither lost nor answered by the step it came into.
    """
    await house.deliver(sell=ONE)
    (held,) = await house.ledger.claim_due(1, busy=())
    await want_cancelled(house)
    await house.follow.take_step(held)
    called = list(house.bank.market.called)
    await later(house, timedelta(seconds=2))

    assert [] == called
    assert ["received", "cancelled"] == await house.events()


# --- looks ----------------------------------------------------------------------------------------


async def test_waiting_for_fills_is_a_look_and_all_else_is_urgent(house: House) -> None:
    """
    Of the request budget, looks get what is left.
    """
    await house.deliver(sell=ONE)
    before = (await withdrawal(house)).errand
    await house.step()
    waiting = (await withdrawal(house)).errand

    assert (Errand.ACT, Errand.LOOK) == (before, waiting)


async def test_an_unknown_word_is_survived(house: House) -> None:
    """
    Counted, and looked at again; the order is followed to its end.
    """
    await sell(house, *ONE)
    house.bank.market.reads.append(replace(house.bank.market.book["ord_1"], status=None))
    await later(house)
    waiting = await house.status()
    house.bank.market.fill()
    await later(house)

    assert Status.RAISING_CASH is waiting
    assert 1 == house.counted.unknown_statuses
    assert Status.PENDING is await house.status()


async def test_proceeds_that_are_not_there_yet_are_waited_for(house: House) -> None:
    """
    After a fill the provider may still be short of funds for a while.
    """
    house.bank.say(Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1")))
    house.bank.market.becomes = SaleStatus.FILLED
    await sell(house, *ONE)
    await later(house, timedelta(0))
    waiting = await house.status()
    await later(house)

    assert Status.AWAITING_FUNDS is waiting
    assert ["received", "raising_cash", "awaiting_funds", "pending"] == await house.events()


# --- a person rules -------------------------------------------------------------------------------


async def unresolved(house: House) -> Held:
    """Two orders alike that the list shows without a key: one of them may be ours."""
    market = house.bank.market
    market.nameless = True
    market.say(SILENCE, executes=True)
    await sell(house, *ONE)
    await later(house)
    assert Status.UNRESOLVED is await house.status()
    return (await house.known()).held


async def settle(
    house: House, held: Held, ruling: Ruling, *, is_marked: bool = False
) -> Held | Inadmissible:
    """Rule from a desk beside the worker, which is shown the order."""
    async with open_ledger(house.url, clock=house.clock) as ledger:
        desk = Rulings(provider=house.bank, ledger=ledger, now=house.clock.now, patience=PATIENCE)
        found = await desk.find(held)
        assert [("ord_1", False, is_marked)] == [
            (one.order.order_id, one.is_owned, one.is_marked) for one in found.orders
        ]
        return await desk.settle(held, ruling, last_call_at=None)


async def test_a_person_adopts_the_order(house: House) -> None:
    """
    The sale goes on with it, and it is withdrawn once it is filled.
    """
    held = await unresolved(house)
    await settle(house, held, Adopt("ord_1", "Ada", "on the screen"))
    house.bank.market.fill()
    await later(house, timedelta(0))

    assert 1 == len(house.bank.market.bodies)
    assert ["received", "unresolved", "received", "raising_cash", "pending"] == await house.events()


async def test_a_person_has_the_order_placed_again(house: House) -> None:
    """
    It is for the person to judge whose the order in the list is; the last call has to be over.
    """
    held = await unresolved(house)
    house.clock.at += PATIENCE.settling
    await settle(house, held, NotCreated("Ada", "it is the customer's own"))
    await later(house, timedelta(0))

    assert 2 == len(house.bank.market.bodies)
    assert Status.RAISING_CASH is await house.status()


async def test_a_person_says_that_the_proceeds_are_there(house: House) -> None:
    """
    Sold, and never settled by the provider's word: that rests, with its reason, and is then sent.
    """
    house.bank.market.becomes = SaleStatus.UNSETTLED
    await sell(house, *ONE)
    await later(house, SETTLEMENT_WAITED_FOR)
    event = await told(house)
    held = (await house.known()).held
    await settle(house, held, Adopt("ord_1", "Ada", "on the statement"), is_marked=True)
    await later(house, timedelta(0))

    assert (Status.UNRESOLVED, house.clock.at - SETTLEMENT_WAITED_FOR) == (
        held.withdrawal.status,
        held.withdrawal.sales[0].sold_at,
    )
    assert event["reason"]["message"].startswith("an order is sold, and for 10 days")
    assert 1 == len(house.bank.market.bodies)
    assert ["received", "raising_cash", "unresolved", "received", "pending"] == await house.events()


async def test_proceeds_are_waited_for_as_long_as_the_request_says(house: House) -> None:
    """
    Beyond the ten days, and without a person: settled on the twelfth, it is sent.
    """
    house.bank.market.becomes = SaleStatus.UNSETTLED
    until = house.clock.at + 2 * SETTLEMENT_WAITED_FOR
    await sell(house, *ONE, wait_for_funds_until=until.isoformat())
    await later(house, SETTLEMENT_WAITED_FOR)
    house.bank.market.move("ord_1", SaleStatus.FILLED)
    await later(house, timedelta(days=2))

    assert ["received", "raising_cash", "pending"] == await house.events()


async def overdue(house: House) -> Held:
    """Two orders are sold, the first nine days after the second, which is overdue."""
    market = house.bank.market
    await sell(house)
    market.move("ord_2", SaleStatus.UNSETTLED)
    await later(house)
    house.clock.at += timedelta(days=9)
    market.move("ord_1", SaleStatus.UNSETTLED)
    await later(house)
    await later(house, timedelta(days=1))
    assert Status.UNRESOLVED is await house.status()
    return (await house.known()).held


@pytest.mark.parametrize(
    ("order_id", "left"),
    [
        ("ord_2", [SaleStatus.UNSETTLED, SaleStatus.FILLED]),
        ("ord_1", [SaleStatus.FILLED, SaleStatus.UNSETTLED]),
    ],
)
async def test_of_several_orders_the_overdue_one_is_shown_and_the_named_one_ruled_on(
    house: House, order_id: str, left: list[SaleStatus]
) -> None:
    """
    The other's proceeds are waited for on their own.
    """
    held = await overdue(house)
    async with open_ledger(house.url, clock=house.clock) as ledger:
        desk = Rulings(provider=house.bank, ledger=ledger, now=house.clock.now, patience=PATIENCE)
        found = await desk.find(held)
        ruled = await desk.settle(held, Adopt(order_id, "Ada", "there"), last_call_at=None)

    assert [("ord_2", True)] == [(one.order.order_id, one.is_marked) for one in found.orders]
    assert not isinstance(ruled, Inadmissible)
    assert left == [sale.status for sale in ruled.withdrawal.sales]


async def test_an_order_that_raises_cash_for_the_same_request_is_no_other_requests(
    house: House,
) -> None:
    """
    Two alike, of which one is in doubt: the list is shown with whose each is, in true words.
    """
    market = house.bank.market
    market.nameless = True
    await house.deliver(sell=[*ONE, *ONE])
    first = OrderReport(order_id="ord_1", status=SaleStatus.OPEN)
    market.says.extend([Word(first, executes=True), Word(SILENCE, executes=True)])
    await house.step()
    await later(house)
    held = (await house.known()).held
    async with open_ledger(house.url, clock=house.clock) as ledger:
        desk = Rulings(provider=house.bank, ledger=ledger, now=house.clock.now, patience=PATIENCE)
        found = await desk.find(held)
        ruled = await desk.settle(held, Adopt("ord_1", "Ada", "that one"), last_call_at=None)

    assert [("ord_1", True, False), ("ord_2", False, False)] == [
        (one.order.order_id, one.is_siblings, one.is_owned) for one in found.orders
    ]
    assert Inadmissible("ord_1 is another order of this same request") == ruled


async def test_a_person_gives_up_a_sold_order_that_was_cancelled(house: House) -> None:
    """
    The cancellation waits for the ruling, as every one of what rests; it is then its answer.
    """
    await sell(house, *ONE)
    house.bank.market.move("ord_1", SaleStatus.UNSETTLED, "3")
    await later(house)
    await later(house, SETTLEMENT_WAITED_FOR)
    not_created = NotCreated("Ada", "we give it up")
    refused = await settle(house, (await house.known()).held, not_created, is_marked=True)
    await house.cancel()
    await house.step()
    resting = await withdrawal(house)
    await settle(house, (await house.known()).held, not_created, is_marked=True)
    await later(house, timedelta(0))
    event = await told(house)

    assert isinstance(refused, Inadmissible)
    assert (Status.UNRESOLVED, True) == (resting.status, resting.cancel_wanted)
    assert ["received", "raising_cash", "unresolved", "received", "cancelled"] == (
        await house.events()
    )
    assert [("unsettled", "3")] == [
        (order["status"], order["filled_quantity"]) for order in event["orders"]
    ]
    assert ["cancelled"] == [row["outcome"] for row in await house.ledger.cancellations_of("req-1")]
    assert [] == house.bank.paid
