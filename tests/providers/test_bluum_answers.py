"""The table of Bluum's answers, walked whole: over real HTTP, and on to what follows from each.

Each row is said by a server to each call that it is about, in every form in which it may come. What
came of it is then decided about twice: as a first attempt's, and after one whose outcome nobody
knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import pytest
from multidict import CIMultiDict

from tests.providers.bluum_forms import (
    DOCUMENTED,
    NO_FUNDS,
    REQUEST_ID,
    SWITCHING,
    TEXT,
    UNKNOWN,
    forms,
    kinds,
    said,
)
from tests.providers.builders import (
    NOW,
    PATIENCE,
    Clock,
    a_held,
    a_permit,
    a_sale,
    a_sale_permit,
)
from tests.providers.canned import Drip, Raw, Said, canned
from tests.providers.stages import PATIENT, Options, bluum_request, open_bluum
from worker.core.answers import (
    Conflicted,
    Denied,
    Listed,
    NotNow,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.decide import decide_create, decide_look, decide_lookup
from worker.core.lookup import Candidates
from worker.core.permit import take_in
from worker.core.sale import Found, OrderReport, OrdersListed, Sale, SaleStatus
from worker.core.selling import decide_found, decide_placed, decide_seen
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Order, Reason, ReasonCode, Status, Withdrawal
from worker.providers.answer_table import (
    FOLLOWS,
    NO_STATUS,
    STATUSES,
    Acts,
    AnswerTable,
    Body,
    Meaning,
    Operation,
    Row,
)
from worker.providers.bluum_answers import ANSWERS, answers_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tests.providers.canned import Answer as Sayable
    from tests.providers.canned import Canned
    from worker.core.answers import Answer, ListAnswer
    from worker.core.change import Decision
    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.providers.bluum import Bluum

    Given = Answer | ListAnswer | OrderAnswer | OrdersAnswer | bool | None

PAGE: Final = Path(__file__).parents[2] / "docs" / "answers.md"
SHORT: Final = timedelta(seconds=0.2)
UNNAMED: Final = (None, *UNKNOWN)
#: When the key has been forgotten.
MUCH_LATER: Final = NOW + timedelta(hours=30)
REFUSAL: Final = Reason(ReasonCode.REFUSED)
ANSWERED_AT: Final = "Mon, 01 Jun 2026 10:00:00 GMT"
#: What `PATIENCE` waits by itself, by even chance.
OWN_DELAY: Final = timedelta(seconds=1)

#: Calls whose answers are read by the same lines as another's: one form of each row is enough.
TWINS: Final = {Operation.SURVEY, Operation.ORDERS, Operation.CANCEL_ORDER}
#: The calls whose refusal ends something.
MOVES_MONEY: Final = {Operation.CREATE, Operation.SELL}
#: Who may have to act, by what an answer means; a refusal of anything but a create call is ours.
MAY_ACT: Final = {
    Meaning.REPORTED: {Acts.US},
    Meaning.LISTED: {Acts.US},
    Meaning.ACCEPTED: {Acts.US},
    Meaning.CONFLICTED: {Acts.US},
    Meaning.NOT_NOW: {Acts.US},
    Meaning.THROTTLED: {Acts.US},
    Meaning.DENIED: {Acts.OPERATOR},
    Meaning.UNCLEAR: {Acts.US, Acts.OPERATOR},
}


class Follows(NamedTuple):
    """What follows: the status, how many events tell of it, the next step, whether in doubt."""

    status: Status
    events: int
    step: Step
    in_doubt: bool


#: What follows from the answer to a first create call,
FIRST: Final = {
    Meaning.REPORTED: Follows(Status.PROCESSING, 1, Step.LOOK, False),
    Meaning.REFUSED: Follows(Status.REJECTED, 1, Step.REST, False),
    Meaning.CONFLICTED: Follows(Status.RECEIVED, 0, Step.LOOKUP, True),
    Meaning.UNCLEAR: Follows(Status.RECEIVED, 0, Step.CREATE, True),
    Meaning.THROTTLED: Follows(Status.RECEIVED, 0, Step.CREATE, False),
    Meaning.DENIED: Follows(Status.RECEIVED, 0, Step.CREATE, False),
}
#: to one after an attempt whose outcome nobody knows,
AGAIN: Final = FIRST | {
    Meaning.REFUSED: Follows(Status.RECEIVED, 0, Step.LOOKUP, True),
    Meaning.THROTTLED: Follows(Status.RECEIVED, 0, Step.CREATE, True),
    Meaning.DENIED: Follows(Status.RECEIVED, 0, Step.CREATE, True),
}
#: What becomes of an order by the answer to placing it, and after one that remained unclear:
PLACED: Final = {
    Meaning.REPORTED: SaleStatus.PARTIAL,
    Meaning.REFUSED: SaleStatus.REFUSED,
    Meaning.NOT_NOW: SaleStatus.PLANNED,
    Meaning.CONFLICTED: SaleStatus.UNKNOWN,
    Meaning.UNCLEAR: SaleStatus.UNKNOWN,
    Meaning.THROTTLED: SaleStatus.PLANNED,
    Meaning.DENIED: SaleStatus.PLANNED,
}
PLACED_AGAIN: Final = PLACED | {Meaning.REFUSED: SaleStatus.UNKNOWN}
STRANGE: Final = Follows(Status.RECEIVED, 0, Step.LOOK, False)
#: to a look (any other meaning than a report: nothing has happened),
SEEN: Final = Follows(Status.PROCESSING, 1, Step.LOOK, False)
NOT_SEEN: Final = Follows(Status.PENDING, 0, Step.LOOK, False)
#: and to a look through the list, that was empty or could not be read.
NOT_FOUND: Final = Follows(Status.RECEIVED, 0, Step.LOOKUP, True)
PARKED: Final = Follows(Status.UNRESOLVED, 1, Step.REST, True)


# --- the table is sound ---------------------------------------------------------------------------


def everything(operation: Operation) -> Iterator[tuple[int, Body, str | None]]:
    """Everything that may come to a call."""
    yield NO_STATUS, Body.SILENCE, None
    yield NO_STATUS, Body.UNSENT, None
    for status in STATUSES:
        for kind in kinds(operation, status):
            yield status, kind, None
            if kind is Body.ENVELOPE and 100 <= status < 600:
                for code in (*DOCUMENTED, *UNKNOWN):
                    yield status, kind, code


@pytest.mark.parametrize("operation", Operation)
def test_every_answer_has_exactly_one_row(operation: Operation) -> None:
    """
    Whatever the status, with an envelope and without, with each code and with none.
    """
    unsound = [
        (what, found)
        for what in everything(operation)
        if len(found := ANSWERS.candidates(operation, *what)) != 1
    ]

    assert [] == unsound


def test_no_row_is_idle() -> None:
    """
    For each row and each call it is about there is an answer for which it holds.
    """
    used = {
        (operation, id(ANSWERS.row(operation, *what)))
        for operation in Operation
        for what in everything(operation)
    }
    idle = [
        (operation, row)
        for row in ANSWERS.rows
        for operation in row.operations
        if (operation, id(row)) not in used
    ]

    assert [] == idle


def test_every_documented_code_is_named_and_no_other() -> None:
    """
    The codes are those of the reference, for every call, under the status that they name.
    """
    assert DOCUMENTED == ANSWERS.codes
    for operation in Operation:
        for code in DOCUMENTED - {"PRODUCT_NOT_ENABLED"}:
            row = ANSWERS.row(operation, int(code.split("-")[1]), Body.ENVELOPE, code)
            assert code in row.codes


def test_every_row_is_whole() -> None:
    """
    A refusal has its reason and nothing else has; who acts fits to what it means.
    """
    for row in ANSWERS.rows:
        may_act = MAY_ACT.get(row.meaning, {Acts.US})
        if row.meaning is Meaning.REFUSED and row.operations <= MOVES_MONEY:
            may_act = {Acts.CUSTOMER, Acts.OPERATOR}

        assert row.acts in may_act, row
        assert (row.meaning is Meaning.REFUSED) is (row.reason is not None), row
        assert row.meaning is Meaning.UNCLEAR or row.why is None, row
        assert row.source, row


def test_only_refusals_in_bluums_own_words_can_end_a_withdrawal() -> None:
    """
    Of all that may come to a create call, what is final comes in four statuses, in an envelope.
    """
    final = {
        (status, kind)
        for status, kind, code in everything(Operation.CREATE)
        if ANSWERS.row(Operation.CREATE, status, kind, code).meaning is Meaning.REFUSED
    }

    assert {(s, Body.ENVELOPE) for s in (400, 403, 404, 422)} | {(400, Body.TEXT)} == final


def test_unknown_codes_fill_no_memory() -> None:
    """
    Whatever a server calls its errors, the table remembers no more than it has rows for.
    """
    table = AnswerTable("bluum", ANSWERS.rows)
    found = {
        id(table.row(Operation.CREATE, 422, Body.ENVELOPE, f"NEW-{number}"))
        for number in range(1000)
    }

    assert 1 == len(found)
    assert 1 == len(vars(table)["_found"])


# --- every row, over HTTP -------------------------------------------------------------------------


class Spoken(NamedTuple):
    """An answer as a server gives it, and what support is told of it."""

    answer: Sayable
    trace: Trace


def spoken(row: Row, operation: Operation) -> list[Spoken]:
    """All that stands for a row: one status in every form, the ends of its spans in one form."""
    # Interim answers, but for 101, are followed by another; these three come without a body.
    speakable = {s for s in row.statuses if s == SWITCHING or s >= 200 or s < 100} - {204, 205, 304}
    ends = {s for s in speakable if s - 1 not in speakable or s + 1 not in speakable}
    first, *others = sorted(({200, 201, 301, 405, 413, 501, 505} & speakable) | ends)
    told = [
        each
        for kind in row.bodies & set(kinds(operation, first))
        for each in in_every_form(row, operation, first, kind)
    ]
    return told + [
        in_every_form(row, operation, status, kind)[0]
        for status in others
        for kind in row.bodies & set(kinds(operation, status))
    ]


def in_every_form(row: Row, operation: Operation, status: int, kind: Body) -> list[Spoken]:
    """A status and a kind of body in all its forms, with every code of the row."""
    unnamed = UNNAMED if kind is Body.ENVELOPE else (None,)
    return [
        Spoken(said(status, body), a_trace(status, kind, code, body))
        for code in sorted(row.codes) or unnamed
        for body in forms(operation, status, kind, code)
    ]


def a_trace(status: int, kind: Body, code: str | None, body: object) -> Trace:
    """What is kept of an answer: the words of an error, whosever they are."""
    if body == NO_FUNDS:
        return Trace(status, "BLUM-422-001", REQUEST_ID, TEXT)
    if kind is Body.OTHER:
        words = body.get("message") if isinstance(body, dict) else None
        return Trace(status, None, REQUEST_ID, words)
    return Trace(status, code, REQUEST_ID, TEXT if kind in {Body.ENVELOPE, Body.TEXT} else None)


async def ask(bluum: Bluum, operation: Operation) -> Given:
    """Make a call."""
    match operation:
        case Operation.CREATE:
            return await bluum.create(a_permit(a_held(bluum, bluum_request())))
        case Operation.LOOK:
            return await bluum.look("inv_01", "wd_01demo")
        case Operation.CANCEL:
            return await bluum.cancel("inv_01", "wd_01demo")
        case Operation.LIST:
            return await bluum.listed("inv_01", NOW.date(), NOW.date())
        case Operation.SURVEY:
            return await bluum.survey("inv_01", NOW.date(), NOW.date())
        case Operation.CREDENTIALS:
            return await bluum.try_credentials()
        case _:
            return await ask_about_orders(bluum, operation)


async def ask_about_orders(bluum: Bluum, operation: Operation) -> Given:
    """Make a call about orders."""
    match operation:
        case Operation.SELL:
            request = bluum_request(sell=[{"symbol": "AAPL", "quantity": "3"}])
            return await bluum.sell(a_sale_permit(a_sale(bluum, request)))
        case Operation.ORDER:
            return await bluum.order("inv_01", "ord_01demo")
        case Operation.CANCEL_ORDER:
            return await bluum.cancel_order("inv_01", "ord_01demo")
        case _:
            assert operation is Operation.ORDERS
            return await bluum.orders("inv_01", Sale(key="sell-1"))


async def answers(operation: Operation, server: Canned, *, apart: bool) -> list[Given]:
    """Make a call for each answer that a server has; `apart`: with a client of its own each."""
    if apart:
        # A 429 holds back whatever its client would send next.
        return [await alone(operation, server) for _ in server.answers]
    async with open_bluum(server.base_url, Options()) as bluum:
        return [await ask(bluum, operation) for _ in server.answers]


async def alone(operation: Operation, server: Canned, *, patience: timedelta = PATIENT) -> Given:
    """Make a call with a client of its own."""
    async with open_bluum(server.base_url, Options(timeout=patience)) as bluum:
        return await ask(bluum, operation)


async def heard(operation: Operation, answer: Sayable) -> Given:
    """Make a call at a server that says this; not for long, where it would say it for ever."""
    async with canned(answer) as server:
        return await alone(operation, server, patience=SHORT if answer == Drip() else PATIENT)


def as_said(row: Row, trace: Trace) -> Given:
    """The answer that a row means, where it is not read from a body."""
    match row.meaning:
        case Meaning.REFUSED:
            assert row.reason is not None
            return Refused(Reason(row.reason, trace.provider_code), trace)
        case Meaning.CONFLICTED:
            return Conflicted(trace)
        case Meaning.THROTTLED:
            return Throttled(None, trace)
        case Meaning.DENIED:
            return Denied(trace)
        case _:
            return Unclear(row.why or f"http_{trace.http_status}", None, trace)


def check_answer(row: Row, operation: Operation, given: Given, trace: Trace) -> None:
    """Hold an answer to its row."""
    match row.meaning:
        case _ if operation is Operation.CREDENTIALS:
            assert {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning) is given
        case Meaning.NOT_NOW:
            assert NotNow(trace) == given
        case Meaning.REPORTED if isinstance(given, OrderReport):
            assert "ord_01demo" == given.order_id
            assert (Body.STRANGE in row.bodies) is (given.status is None)
        case Meaning.REPORTED:
            assert isinstance(given, Reported)
            assert "wd_01demo" == given.withdrawal_id
            assert (Body.STRANGE in row.bodies) is (given.status is None)
        case Meaning.LISTED:
            assert isinstance(given, Listed | OrdersListed)
        case _:
            assert as_said(row, trace) == given


async def a_taken() -> Withdrawal:
    """A withdrawal as it was committed before its first call."""
    async with open_bluum("http://127.0.0.1:9/v1", Options()) as bluum:
        return a_held(bluum, bluum_request()).withdrawal


def summed_up(decision: Decision, *, now: datetime = NOW) -> Follows:
    """Say what follows from a decision."""
    after = decision.withdrawal
    if not after.is_at_rest:
        assert after.due_at is not None
        assert after.due_at >= now
    step = next_step(after, now=now, patience=PATIENCE)
    return Follows(after.status, len(decision.changes), step, after.in_doubt)


def check_created(taken: Withdrawal, row: Row, answer: Answer) -> None:
    """What follows from a create call's answer, of a first attempt and after an unclear one."""
    first, again = replace(taken, in_doubt=False), replace(taken, attempts=2)
    decided, decided_again = (
        decide_create(before, answer, now=NOW, patience=PATIENCE, chance=0.5)
        for before in (first, again)
    )
    strange = Body.STRANGE in row.bodies

    assert (STRANGE if strange else FIRST[row.meaning]) == summed_up(decided)
    assert (STRANGE if strange else AGAIN[row.meaning]) == summed_up(decided_again)
    if row.meaning is Meaning.REFUSED and isinstance(answer, Refused):
        assert [answer.reason] == [change.reason for change in decided.changes]
        assert answer.reason == decided_again.withdrawal.held_refusal


def check_seen(taken: Withdrawal, row: Row, answer: Answer) -> None:
    """What follows from the answer to a look: only a report moves anything."""
    pending = replace(
        taken, status=Status.PENDING, sequence=2, withdrawal_id="wd_01demo", in_doubt=False
    )
    decided = decide_look(pending, answer, now=NOW, patience=PATIENCE, chance=0.5)
    moved = row.meaning is Meaning.REPORTED and Body.STRANGE not in row.bodies

    assert (SEEN if moved else NOT_SEEN) == summed_up(decided)


def check_looked_up(taken: Withdrawal, row: Row, answer: ListAnswer) -> None:
    """What follows from a look-up that found nothing, while the key is remembered and after."""
    doubted = replace(taken, held_refusal=REFUSAL)
    decided, decided_late = (
        decide_lookup(
            doubted, answer, Candidates(), asked_at=now, now=now, patience=PATIENCE, chance=0.5
        )
        for now in (NOW, MUCH_LATER)
    )
    counted = int(row.meaning is Meaning.LISTED)
    hopeless = row.meaning is Meaning.REFUSED

    assert NOT_FOUND == summed_up(decided)
    assert (PARKED if hopeless else NOT_FOUND) == summed_up(decided_late, now=MUCH_LATER)
    assert (counted, 0 if hopeless else counted) == (
        decided.withdrawal.empty_lookups,
        decided_late.withdrawal.empty_lookups,
    )


def selling(**changes: Any) -> Withdrawal:  # noqa: ANN401 - any field of the order
    """A withdrawal that raises its cash first, by one order."""
    order = Order(
        message_id="req-1",
        idempotency_key="wd-1",
        provider="bluum",
        party_id="inv_01",
        amount=None,
        currency=None,
        method=None,
        taken_at=NOW,
    )
    sale = Sale(key="sell-1", symbol="AAPL", quantity="3", **changes)
    begun = Withdrawal(order=order, changed_at=NOW, sales=(sale,))
    return take_in(begun, now=NOW).withdrawal


def check_placed(row: Row, answer: OrderAnswer) -> None:
    """What follows from a place call's answer, of a first attempt and after an unclear one."""
    first, again = (
        decide_placed(before, 0, answer, now=NOW, patience=PATIENCE, chance=0.5).withdrawal
        for before in (selling(), selling(first_attempt_at=NOW))
    )
    strange = Body.STRANGE in row.bodies

    assert (SaleStatus.OPEN if strange else PLACED[row.meaning]) is first.sales[0].status
    assert (SaleStatus.OPEN if strange else PLACED_AGAIN[row.meaning]) is again.sales[0].status
    assert (row.meaning is Meaning.REFUSED) is (first.status is Status.REJECTED)


def check_order_seen(row: Row, answer: OrderAnswer) -> None:
    """What follows from the answer to a look at an order: only a report moves anything."""
    placed = selling(status=SaleStatus.OPEN, order_id="ord_01demo")
    decided = decide_seen(placed, {0: answer}, now=NOW, patience=PATIENCE, chance=0.5)
    moved = row.meaning is Meaning.REPORTED and Body.STRANGE not in row.bodies

    assert (SaleStatus.PARTIAL if moved else SaleStatus.OPEN) is decided.withdrawal.sales[0].status


def check_order_looked_up(row: Row, answer: OrdersAnswer) -> None:
    """What follows from a look-up that found nothing, while that may change and after."""
    doubted = selling(status=SaleStatus.UNKNOWN, first_attempt_at=NOW)
    decided, decided_late = (
        decide_found(
            doubted, 0, answer, Found(), asked_at=now, now=now, patience=PATIENCE, chance=0.5
        ).withdrawal
        for now in (NOW, MUCH_LATER)
    )
    hopeless = row.meaning is Meaning.REFUSED

    assert int(row.meaning is Meaning.LISTED) == decided.sales[0].empty_lookups
    assert Status.RECEIVED is decided.status
    assert (Status.UNRESOLVED if hopeless else Status.RECEIVED) is decided_late.status


def check_what_follows(taken: Withdrawal, row: Row, operation: Operation, given: Given) -> None:
    """Hand an answer on to where it is decided about."""
    match operation:
        case Operation.CREATE:
            check_created(taken, row, cast("Answer", given))
        case Operation.LOOK | Operation.CANCEL:
            check_seen(taken, row, cast("Answer", given))
        case Operation.LIST | Operation.SURVEY:
            check_looked_up(taken, row, cast("ListAnswer", given))
        case Operation.SELL:
            check_placed(row, cast("OrderAnswer", given))
        case Operation.ORDER | Operation.CANCEL_ORDER:
            check_order_seen(row, cast("OrderAnswer", given))
        case Operation.ORDERS:
            check_order_looked_up(row, cast("OrdersAnswer", given))
        case Operation.CREDENTIALS:
            assert given in {True, False, None}


@pytest.mark.parametrize(
    ("row", "operation"),
    [
        pytest.param(row, operation, id=f"{operation}, row {number}: {row.meaning}")
        for number, row in enumerate(ANSWERS.rows)
        for operation in sorted(row.operations)
        if row.statuses != {NO_STATUS}
    ],
)
async def test_every_row_holds_over_http_and_leads_on(row: Row, operation: Operation) -> None:
    """
    Said in its forms, it is the answer of the table, and what is promised follows from it.
    """
    taken, all_forms = await a_taken(), spoken(row, operation)
    if operation in TWINS:
        all_forms = all_forms[:1]
    async with canned(*(each.answer for each in all_forms)) as server:
        given = await answers(operation, server, apart=429 in row.statuses)

    assert len(all_forms) == len(server.heard)
    for each, answer in zip(all_forms, given, strict=True):
        check_answer(row, operation, answer, each.trace)
        check_what_follows(taken, row, operation, answer)


@pytest.mark.parametrize(
    ("silence", "why"),
    [
        (Raw(b""), "connection"),
        (Raw(b"HTTP/1.1 422 X\r\nContent-Length: 99\r\n\r\n{"), "connection"),
        (Raw(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"), "connection"),
        (Raw(b"SMTP 201 ???\r\n\r\n"), "transport"),
        (Raw(b"HTTP/1.1 4220 X\r\nContent-Length: 0\r\n\r\n"), "transport"),
        (Raw(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "connection"),
        (Drip(), "timeout"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("operation", Operation)
async def test_every_silence_is_unclear_and_leads_on(
    operation: Operation, silence: Sayable, why: str
) -> None:
    """
    Cut off before or within the answer, not HTTP at all, or without end: the row of no answer.
    """
    row = ANSWERS.row(operation, NO_STATUS, Body.SILENCE, None)
    given = await heard(operation, silence)

    assert (None if operation is Operation.CREDENTIALS else Unclear(why)) == given
    check_what_follows(await a_taken(), row, operation, given)


@pytest.mark.parametrize("operation", Operation)
async def test_what_did_not_leave_is_throttled_and_leads_on(operation: Operation) -> None:
    """
    During a pause that was asked for nothing leaves, and nothing is in doubt because of it.
    """
    row = ANSWERS.row(operation, NO_STATUS, Body.UNSENT, None)
    async with (
        canned(Said(429, headers={"Retry-After": "30"})) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        await bluum.try_credentials()
        given = await ask(bluum, operation)

    assert 1 == len(server.heard)
    assert operation is Operation.CREDENTIALS or isinstance(given, Throttled)
    check_what_follows(await a_taken(), row, operation, given)


async def test_a_permit_that_ran_out_leads_on() -> None:
    """
    Nothing leaves; whether an earlier attempt may have arrived is as it was.
    """
    clock = Clock(MUCH_LATER)
    row = ANSWERS.row(Operation.CREATE, NO_STATUS, Body.UNSENT, None)
    async with (
        canned(Said(201)) as server,
        open_bluum(server.base_url, Options(clock=clock)) as bluum,
    ):
        given = await ask(bluum, Operation.CREATE)

    assert [] == server.heard
    assert Throttled(timedelta(0)) == given
    check_what_follows(await a_taken(), row, Operation.CREATE, given)


# --- how long to keep away ------------------------------------------------------------------------


TOLD: Final = (
    ((("Retry-After", "120"),), 120),
    ((("Retry-After", "999999"),), 3600),
    ((("Retry-After", "7"), ("Retry-After", "120")), 120),
    ((("Retry-After", "Mon, 01 Jun 2026 10:02:00 GMT"), ("Date", ANSWERED_AT)), 120),
    ((("Retry-After", "Monday, 01-Jun-26 10:02:00 GMT"), ("Date", ANSWERED_AT)), 120),
    ((("Retry-After", "Mon Jun  1 10:02:00 2026"), ("Date", ANSWERED_AT)), 120),
    ((("Retry-After", "Mon, 01 Jun 2026 09:00:00 GMT"), ("Date", ANSWERED_AT)), 0),
    ((("Retry-After", "-120"),), None),
    ((("Retry-After", "soon"),), None),
    ((), None),
)


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        *((status, *told) for status in (408, 503) for told in TOLD),
        *((status, *TOLD[0]) for status in (201, 302, 413, 425, 500, 501, 502, 504)),
    ],
    ids=repr,
)
async def test_an_unclear_answer_says_how_long_to_keep_away(
    status: int, headers: tuple[tuple[str, str], ...], wait: int | None
) -> None:
    """
    Whatever the status: the next attempt, look and look-up come no sooner.

    Without a header that can be read, our own growing delay is left.
    """
    expected = None if wait is None else timedelta(seconds=wait)
    answer = Said(status, headers=CIMultiDict(headers))
    taken = await a_taken()
    created = await heard(Operation.CREATE, answer)
    seen = await heard(Operation.LOOK, answer)
    listed = await heard(Operation.LIST, answer)

    assert isinstance(created, Unclear)
    assert isinstance(seen, Unclear)
    assert isinstance(listed, Unclear)
    assert (expected, expected, expected) == tuple(
        answer.retry_after for answer in (created, seen, listed)
    )
    pending = replace(taken, withdrawal_id="wd_01demo", status=Status.PENDING)
    for decided in (
        decide_create(taken, created, now=NOW, patience=PATIENCE, chance=0.5),
        decide_look(pending, seen, now=NOW, patience=PATIENCE, chance=0.5),
        decide_lookup(
            taken, listed, Candidates(), asked_at=NOW, now=NOW, patience=PATIENCE, chance=0.5
        ),
    ):
        assert decided.withdrawal.due_at == NOW + max(timedelta(seconds=wait or 0), OWN_DELAY)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ([("Retry-After", "120")], 100, 120),
        ([("Retry-After", "7"), ("Retry-After", "120")], 100, 120),
        ([("Retry-After", "Mon, 01 Jun 2026 10:02:00 GMT"), ("Date", ANSWERED_AT)], 100, 120),
        ([("Retry-After", "Monday, 01-Jun-26 10:02:00 GMT"), ("Date", ANSWERED_AT)], 100, 120),
        ([("Retry-After", "Mon Jun  1 10:02:00 2026"), ("Date", ANSWERED_AT)], 100, 120),
        ([("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")], 3500, 3600),
    ],
    ids=repr,
)
async def test_a_429_says_how_long_all_keep_away(
    headers: list[tuple[str, str]], least: int, most: int
) -> None:
    """
    In seconds or as a date, against the server's own clock: until then nothing leaves at all.
    """
    async with (
        canned(Said(429, headers=CIMultiDict(headers))) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        first = await ask(bluum, Operation.CREATE)
        second = await ask(bluum, Operation.LOOK)

    assert isinstance(first, Throttled)
    assert isinstance(second, Throttled)
    assert timedelta(seconds=most) == first.retry_after
    assert second.retry_after is not None
    assert timedelta(seconds=least) < second.retry_after <= timedelta(seconds=most)
    assert 1 == len(server.heard)


# --- who is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, {"error": {"code": "BLUM-403-001", "message": "Jane Doe"}}, True),
        (404, {"error": {"code": "BLUM-404-002", "message": "Jane Doe"}}, True),
        (404, b"<html>Jane Doe</html>", True),
        (302, b"", True),
        (422, {"error": {"code": "BLUM-422-001", "message": "Jane Doe"}}, False),
        (503, b"", False),
        # Told by who watches over the credentials, once and not with every call.
        (401, b"", False),
    ],
    ids=repr,
)
async def test_an_operator_is_called_by_a_record(
    status: int, body: object, caplog: pytest.LogCaptureFixture, *, told: bool
) -> None:
    """
    Where the table says that an operator acts next; call, status and code stand in it, no text.
    """
    await heard(Operation.CREATE, Said(status, body))
    records = [record for record in caplog.records if record.message == "operator needed"]

    assert told is bool(records)
    for record in records:
        assert ("create", status) == (vars(record)["operation"], vars(record)["http_status"])
        assert "Jane" not in str(vars(record))


# --- the page -------------------------------------------------------------------------------------


def test_the_page_is_what_the_table_says() -> None:
    """
    `python -m worker.providers.bluum_answers > docs/answers.md` was run after the last change.
    """
    assert answers_page() == PAGE.read_text("utf-8")


def test_the_page_has_a_line_for_each_row_and_each_meaning() -> None:
    """
    No row is lost on the way to the operators, and no line lacks a cell.
    """
    lines = [line for line in answers_page().splitlines() if line.startswith("| ")]
    widths = {line.count(" | ") for line in lines}
    heads = 1 + len({row.operations for row in ANSWERS.rows})

    assert len(ANSWERS.rows) + len(FOLLOWS) + heads == len(lines)
    assert {5, 6} == widths
    assert set(Meaning) - {Meaning.ACCEPTED} == set(FOLLOWS)
