"""The table of Upvest's answers, walked whole over real HTTP.

Each row is said by a server to each call that it is about, in every form in which it may come. What
follows from each meaning is the same for all providers and is walked with Bluum's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.providers.builders import NOW, a_held, a_permit, a_sale, a_sale_permit
from tests.providers.canned import Raw, canned
from tests.providers.stages import (
    ACCOUNT,
    ACCOUNT_GROUP,
    TOKEN,
    Options,
    open_upvest,
    upvest_request,
)
from tests.providers.upvest_forms import (
    CANCELS,
    DOCUMENTED,
    NO_CONTENT,
    ORDER,
    REQUEST_ID,
    SWITCHING,
    TEXT,
    UNKNOWN,
    WITHDRAWAL,
    forms,
    is_success,
    kinds,
    said,
)
from worker.core.answers import (
    Conflicted,
    Denied,
    Listed,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.sale import OrderReport, OrdersListed
from worker.core.withdrawal import Reason
from worker.providers.answer_table import NO_STATUS, STATUSES, Body, Meaning, Operation, Row
from worker.providers.upvest_answers import ANSWERS, answers_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.providers.canned import Answer
    from worker.providers.upvest import Upvest

PAGE: Final = Path(__file__).parents[2] / "docs" / "answers-upvest.md"
SELL: Final = [{"account_id": ACCOUNT, "instrument_id": "US0378331005", "quantity": "3"}]
#: Calls whose answers are read by the same lines as another's: one form of each row is enough.
TWINS: Final = {Operation.SURVEY, Operation.ORDERS, Operation.CANCEL_ORDER, Operation.ORDER}


def everything(operation: Operation) -> Iterator[tuple[int, Body, str | None]]:
    """Everything that may come to a call."""
    yield NO_STATUS, Body.SILENCE, None
    yield NO_STATUS, Body.UNSENT, None
    for status in STATUSES:
        for kind in (*kinds(operation, status), *(() if is_success(status) else [Body.TEXT])):
            yield status, kind, None
            # No row outside this class names one.
            if kind is Body.ENVELOPE and 400 <= status < 500:
                for code in (*DOCUMENTED, *UNKNOWN, *ANSWERS.codes):
                    yield status, kind, code


@pytest.mark.parametrize("operation", Operation)
def test_every_answer_has_exactly_one_row(operation: Operation) -> None:
    """
    Whatever the status, as a problem document and not, with each type and with none.
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


def test_only_refusals_in_upvests_own_words_can_end_a_withdrawal() -> None:
    """
    Of all that may come to a create call, what is final comes in four statuses, as a problem.
    """
    final = {
        (status, kind)
        for status, kind, code in everything(Operation.CREATE)
        if ANSWERS.row(Operation.CREATE, status, kind, code).meaning is Meaning.REFUSED
    }

    assert {(status, Body.ENVELOPE) for status in (400, 403, 404, 422)} == final


@pytest.mark.parametrize(("code", "named"), DOCUMENTED.items())
def test_a_type_under_another_status_is_never_final(code: str, named: int) -> None:
    """
    Where a refusal's type names a status that is none, nothing ends; a known key is looked up.
    """
    refusals = {400, 403, 404, 422}
    if named not in refusals:
        meanings = {
            ANSWERS.row(Operation.CREATE, status, Body.ENVELOPE, code).meaning
            for status in refusals
        }

        assert {Meaning.CONFLICTED if named == 409 else Meaning.UNCLEAR} == meanings


def test_the_page_for_operators_is_this_table() -> None:
    """
    What is written is what the worker classifies by.
    """
    assert answers_page() == PAGE.read_text(encoding="utf-8")


# --- every row, over HTTP -------------------------------------------------------------------------


class Spoken(NamedTuple):
    """An answer as a server gives it, what support is told of it, and how often it is asked for."""

    answer: Answer
    trace: Trace
    turns: int


def spoken(row: Row, operation: Operation) -> list[Spoken]:
    """All that stands for a row: one status in every form, the ends of its spans in one form."""
    # Interim answers, but for 101, are followed by another; these come without a body.
    bodiless = {204, 205, 304}
    speakable = {s for s in row.statuses if s == SWITCHING or s >= 200 or s < 100} - bodiless
    ends = {s for s in speakable if s - 1 not in speakable or s + 1 not in speakable}
    first, *others = sorted(({200, 202, 301, 405, 413, 501} & speakable) | ends)
    told = [
        each
        for status in (first, *others)
        for kind in kinds(operation, status)
        if kind in row.bodies
        for each in in_every_form(row, operation, status, kind)[: None if status == first else 1]
    ]
    return told[:1] if operation in TWINS else told


def in_every_form(row: Row, operation: Operation, status: int, kind: Body) -> list[Spoken]:
    """A status and a kind of body in all its forms, with every type of the row."""
    unnamed = [None] if kind is not Body.ENVELOPE else [None, "x"]
    return [
        Spoken(
            said(status, body),
            a_trace(status, kind, code, body),
            turns(row, operation, status),
        )
        for code in sorted(row.codes) or unnamed
        for body in forms(operation, status, kind, code)
    ]


def a_trace(status: int, kind: Body, code: str | None, body: object) -> Trace:
    """What is kept of an answer: the words of a problem, whosever they are."""
    if kind is Body.ENVELOPE:
        return Trace(status, code, REQUEST_ID, TEXT)
    word = body.get("type") if isinstance(body, dict) else None
    return Trace(status, word or None, REQUEST_ID, None)


def turns(row: Row, operation: Operation, status: int) -> int:
    """How many calls one question takes: a renewed token, a balance, a look, four lists."""
    if row.meaning is Meaning.LISTED and operation is Operation.ORDERS:
        return 4
    is_refused = row.meaning in {Meaning.REFUSED, Meaning.CONFLICTED}
    is_plain = row.reason is not None and row.reason.value == "refused"
    is_explained = operation is Operation.CREATE and is_plain and status in {400, 422}
    is_compared = operation is Operation.CANCEL and is_refused and status in {409, 422}
    return 2 if status == 401 or is_explained or is_compared else 1


def answers(spoken: Spoken, operation: Operation) -> list[Answer]:
    """What each of those calls is answered: a refused cancellation came too late."""
    if operation is Operation.CANCEL and spoken.trace.http_status in {409, 422}:
        return [spoken.answer, said(200, WITHDRAWAL | {"status": "PROCESSING"})][: spoken.turns]
    return [spoken.answer] * spoken.turns


async def ask(upvest: Upvest, operation: Operation) -> Any:  # noqa: ANN401 - an answer of any kind
    """Make a call."""
    held = a_sale(upvest, upvest_request(sell=SELL))
    match operation:
        case Operation.CREATE:
            return await upvest.create(a_permit(a_held(upvest, upvest_request())))
        case Operation.LOOK | Operation.CANCEL:
            return await getattr(upvest, operation)(ACCOUNT_GROUP, WITHDRAWAL["id"])
        case Operation.LIST:
            return await upvest.listed(ACCOUNT_GROUP, NOW.date(), NOW.date())
        case Operation.SURVEY:
            return await upvest.survey(ACCOUNT_GROUP, NOW.date(), NOW.date())
        case Operation.SELL:
            return await upvest.sell(a_sale_permit(held))
        case Operation.ORDER | Operation.CANCEL_ORDER:
            return await getattr(upvest, operation)(ACCOUNT_GROUP, ORDER["id"])
        case Operation.ORDERS:
            return await upvest.orders(ACCOUNT_GROUP, held.withdrawal.sales[0])
        case Operation.CREDENTIALS:
            return await upvest.try_credentials()


def check(row: Row, operation: Operation, given: object, trace: Trace) -> None:
    """Hold an answer to its row."""
    match row.meaning:
        case _ if operation is Operation.CREDENTIALS:
            assert {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning) is given
        case Meaning.REPORTED:
            assert isinstance(given, Reported | OrderReport)
            assert (Body.STRANGE in row.bodies) is (given.status is None)
        case Meaning.LISTED:
            assert isinstance(given, Listed | OrdersListed)
        case Meaning.REFUSED:
            assert row.reason is not None
            assert Refused(Reason(row.reason, trace.provider_code), trace) == given
        case Meaning.CONFLICTED:
            assert Conflicted(trace) == given
        case Meaning.THROTTLED:
            assert Throttled(None, trace) == given
        case Meaning.DENIED:
            assert isinstance(given, Denied)
        case _:
            assert Unclear(row.why or f"http_{trace.http_status}", None, trace) == given


@pytest.mark.parametrize("operation", Operation)
async def test_every_row_holds_over_http(operation: Operation) -> None:
    """
    Said in its forms, it is the answer of the table; nothing more is asked than that needs.
    """
    rows = [row for row in ANSWERS.rows if operation in row.operations]
    all_forms = [
        (row, each)
        for row in rows
        if not row.statuses & {NO_STATUS, 429}
        for each in spoken(row, operation)
    ]
    given = [answer for _, each in all_forms for answer in answers(each, operation)]
    async with (
        canned(*given, asides={"/auth/token": TOKEN}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        for row, each in all_forms:
            check(row, operation, await ask(upvest, operation), each.trace)

    assert len(given) == len(server.heard)


@pytest.mark.parametrize("operation", Operation)
async def test_a_rate_limit_holds_over_http(operation: Operation) -> None:
    """
    A 429 is one whatever came with it; with a client each, since it holds back what is next.
    """
    (row,) = [row for row in ANSWERS.rows if operation in row.operations and 429 in row.statuses]
    for each in spoken(row, operation)[:3]:
        async with (
            canned(each.answer, asides={"/auth/token": TOKEN}) as server,
            open_upvest(server.base_url, Options()) as upvest,
        ):
            check(row, operation, await ask(upvest, operation), each.trace)


@pytest.mark.parametrize("operation", Operation)
async def test_no_answer_is_unclear(operation: Operation) -> None:
    """
    Cut off, it is the row of silence.
    """
    async with (
        canned(Raw(b""), asides={"/auth/token": TOKEN}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        given = await ask(upvest, operation)

    assert (None if operation is Operation.CREDENTIALS else Unclear("connection")) == given


@pytest.mark.parametrize("operation", sorted(CANCELS))
async def test_no_content_is_a_success_to_a_cancellation_alone(operation: Operation) -> None:
    """
    204 is documented there; to any other call it says nothing that can be used.
    """
    async with (
        canned(said(NO_CONTENT, b""), asides={"/auth/token": TOKEN}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        assert (await ask(upvest, operation)).status is None
        for other in set(Operation) - CANCELS - {Operation.CREDENTIALS}:
            assert "unusable_body" == (await ask(upvest, other)).why
