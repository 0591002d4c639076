"""Upvest over time, with its company behind it: settlements, returns, lags, and empty accounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers.builders import NOW, PATIENCE, a_sale, a_sale_permit
from tests.providers.stages import ACCOUNT, ROWS, Row, Stage
from worker.core.answers import Listed, Refused, Reported, Unclear
from worker.core.decide import decide_cancel, decide_create, decide_look, says_cancelled
from worker.core.reconciliation import Booked, Kind, Period, Reading, compare
from worker.core.sale import OrderReport, OrdersListed, SaleStatus
from worker.core.sale_permit import intend_sale
from worker.core.selling import decide_placed, decide_seen
from worker.core.withdrawal import ReasonCode, Status
from worker.simulator import upvest_terms
from worker.simulator.upvest_terms import UpvestTerms

if TYPE_CHECKING:
    from tests.providers.stages import Company
    from worker.core.withdrawal import Withdrawal

UPVEST: Final[Row] = next(row for row in ROWS if row.name == "upvest")
#: Account groups with a meaning of their own.
POOR: Final = f"{upvest_terms.POOR}-0000-4000-8000-000000000001"
RETURNED: Final = f"{upvest_terms.RETURNED}-0000-4000-8000-000000000001"
UNPAID: Final = f"{upvest_terms.FAILING}-0000-4000-8000-000000000001"
STUBBORN: Final = f"{upvest_terms.STUBBORN}-0000-4000-8000-000000000001"
DAY: Final = timedelta(days=1)
TIMING: Final[Any] = {"now": NOW, "patience": PATIENCE, "chance": 0.5}


def advance(company: Company, by: timedelta) -> None:
    """Put the company's clock forward."""
    company.server.clock.advance(by)  # type: ignore[attr-defined]


async def pending(stage: Stage, message_id: str = "req-1", **fields: object) -> Withdrawal:
    """A withdrawal that Upvest has taken, as the ledger has it then."""
    held = stage.held(message_id, **fields)
    created = await stage.provider.create(stage.permit(message_id, **fields))
    assert isinstance(created, Reported)
    return decide_create(held.withdrawal, created, **TIMING).withdrawal


async def looked_at(stage: Stage, withdrawal: Withdrawal) -> Withdrawal:
    """The same after a look."""
    party, identity = withdrawal.order.party_id or "", withdrawal.withdrawal_id or ""
    return decide_look(withdrawal, await stage.provider.look(party, identity), **TIMING).withdrawal


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (RETURNED, ReasonCode.CANCELLED_BY_BANK),
        (UNPAID, ReasonCode.CANCELLED_BY_PROVIDER),
    ],
)
async def test_a_withdrawal_is_followed_to_its_end(group: str, reason: ReasonCode) -> None:
    """
    CONFIRMED is not final: what a bank sends back is a reversal; each end tells whose it is.
    """
    terms = UpvestTerms(pace=DAY, reversal_delay=DAY)
    async with UPVEST.staged(terms=terms) as stage:
        withdrawal = await pending(stage, account_group_id=group)
        statuses = [withdrawal.status]
        for _ in range(4):
            advance(stage.company, DAY)
            withdrawal = await looked_at(stage, withdrawal)
            statuses.append(withdrawal.status)
    way = list(dict.fromkeys(statuses))

    assert withdrawal.reason is not None
    assert reason is withdrawal.reason.code
    assert [Status.PENDING, Status.PROCESSING] == way[:2]
    assert ([Status.COMPLETED] if group == RETURNED else []) + [Status.CANCELLED] == way[2:]


async def test_what_is_not_shown_yet_moves_nothing() -> None:
    """
    Right after its creation a withdrawal is neither found nor listed, and later it is both.
    """
    async with UPVEST.staged(terms=UpvestTerms(list_lag=DAY, pace=10 * DAY)) as stage:
        withdrawal = await pending(stage)
        party, identity = UPVEST.party, withdrawal.withdrawal_id or ""
        days = (NOW - DAY).date(), (NOW + DAY).date()
        seen, empty = (
            await stage.provider.look(party, identity),
            await stage.provider.listed(party, *days),
        )
        after = decide_look(withdrawal, seen, **TIMING)
        advance(stage.company, 2 * DAY)
        found = await stage.provider.listed(party, *days)
        later = await looked_at(stage, after.withdrawal)

    assert isinstance(seen, Refused)
    assert Listed(()) == empty
    assert ((), Status.PENDING) == (after.changes, later.status)
    assert isinstance(found, Listed)
    assert [identity] == [entry.reported.withdrawal_id for entry in found.entries]


async def test_a_cancellation_whose_effect_is_shown_late_is_no_refusal() -> None:
    """
    The second call is refused since the first one did it: nobody is told that it was too late.
    """
    async with UPVEST.staged(terms=UpvestTerms(pace=10 * DAY)) as stage:
        withdrawal = replace(await pending(stage), cancel_wanted=True)
        party, identity = UPVEST.party, withdrawal.withdrawal_id or ""
        seen = await stage.provider.look(party, identity)
        first = await stage.provider.cancel(party, identity)
        unmoved = decide_cancel(withdrawal, first, seen, **TIMING)
        second = await stage.provider.cancel(party, identity)
        shown = await stage.provider.look(party, identity)
        moved = decide_cancel(unmoved.withdrawal, second, shown, **TIMING)
        outdated = decide_cancel(unmoved.withdrawal, second, seen, **TIMING)

    assert says_cancelled(second)
    assert ((), True) == (unmoved.changes, unmoved.withdrawal.cancel_wanted)
    assert ((), True) == (outdated.changes, outdated.withdrawal.cancel_wanted)
    assert [(Status.CANCELLED, ReasonCode.CANCELLED_ON_REQUEST)] == [
        (change.status, change.reason and change.reason.code) for change in moved.changes
    ]


async def test_a_cancellation_is_too_late_once_the_withdrawal_has_moved_on() -> None:
    """
    A refusal while it is NEW is asked again; after that it is the answer.
    """
    async with UPVEST.staged(terms=UpvestTerms(pace=DAY)) as stage:
        withdrawal = await pending(stage, account_group_id=STUBBORN)
        identity = withdrawal.withdrawal_id or ""
        early = await stage.provider.cancel(STUBBORN, identity)
        advance(stage.company, 1.5 * DAY)
        late = await stage.provider.cancel(STUBBORN, identity)

    assert isinstance(early, Unclear)
    assert "still_new" == early.why
    assert isinstance(late, Refused)


async def test_an_empty_account_is_waited_for() -> None:
    """
    The company refuses without a word about funds; the balance tells why, and how much is there.
    """
    async with UPVEST.staged() as stage:
        answer = await stage.provider.create(stage.permit(account_group_id=POOR))
        available = await stage.provider.available(POOR, "EUR")

    assert isinstance(answer, Refused)
    assert ReasonCode.INSUFFICIENT_FUNDS is answer.reason.code
    assert 1 == available


@pytest.mark.parametrize(
    ("instrument", "ends"),
    [("US0378331005", SaleStatus.FILLED), ("ZZMISTRADE03", SaleStatus.FAILED)],
)
@pytest.mark.parametrize("sold", [{"quantity": "3"}, {"cash_amount": "250.75"}])
async def test_a_sale_is_followed_to_its_settlement(
    instrument: str, ends: SaleStatus, sold: dict[str, str]
) -> None:
    """
    Sold is not settled, and a mistrade never will be; only settled cash leads on.
    """
    terms = UpvestTerms(fill_delay=DAY, settlement_delay=2 * DAY)
    async with UPVEST.staged(terms=terms) as stage:
        order = {"account_id": ACCOUNT, "instrument_id": instrument, **sold}
        held = a_sale(stage.provider, UPVEST.request(sell=[order]))
        intended = intend_sale(held.withdrawal, 0, now=NOW).withdrawal
        placed = await stage.provider.sell(a_sale_permit(held))
        withdrawal = decide_placed(intended, 0, placed, **TIMING).withdrawal
        standing = [withdrawal.sales[0].status]
        for days in (1.5, 1, 1.5):
            advance(stage.company, days * DAY)
            seen = await stage.provider.order(UPVEST.party, withdrawal.sales[0].order_id or "")
            withdrawal = decide_seen(withdrawal, {0: seen}, **TIMING).withdrawal
            standing.append(withdrawal.sales[0].status)
        listed = await stage.provider.orders(UPVEST.party, withdrawal.sales[0])

    assert [SaleStatus.OPEN, SaleStatus.UNSETTLED, SaleStatus.UNSETTLED, ends] == standing
    assert isinstance(placed, OrderReport)
    assert isinstance(listed, OrdersListed)
    assert [(placed.order_id, ends)] == [(each.order_id, each.status) for each in listed.orders]
    assert (Status.REJECTED if ends is SaleStatus.FAILED else Status.RAISING_CASH) is (
        withdrawal.status
    )


async def test_its_list_can_be_held_against_the_ledger() -> None:
    """
    What both know is no finding; what the ledger does not know is one.
    """
    async with UPVEST.staged(terms=UpvestTerms(pace=10 * DAY)) as stage:
        ours = await pending(stage)
        other = await pending(stage, message_id="req-2", amount="7.00")
        period = Period(NOW - DAY, NOW)
        survey = await stage.provider.survey(UPVEST.party, *period.days)
    assert isinstance(survey, Listed)
    booked = Booked(
        row=1,
        message_id="req-1",
        idempotency_key=ours.order.idempotency_key,
        status=ours.status,
        withdrawal_id=ours.withdrawal_id,
        amount=ours.order.amount,
        currency=ours.order.currency,
        in_doubt=False,
        taken_at=NOW,
        first_attempt_at=NOW,
        changed_at=NOW,
    )
    reading = Reading(
        provider="upvest",
        party_id=UPVEST.party,
        period=period,
        settling=timedelta(minutes=2),
        listed_at=NOW + timedelta(hours=1),
        entries=survey.entries,
        before=(booked,),
        after=(booked,),
    )

    assert [(Kind.UNEXPLAINED, other.withdrawal_id)] == [
        (finding.kind, finding.withdrawal_id) for finding in compare(reading)
    ]
