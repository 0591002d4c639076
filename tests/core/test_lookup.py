"""Which entries of a provider's list can be the withdrawal that is looked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.core.builders import NOW, PATIENCE, a_withdrawal, an_entry, an_order, reported
from worker.core.lookup import Candidates, candidates, contradiction, days_to_read
from worker.core.withdrawal import reference_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.answers import Entry
    from worker.core.withdrawal import Order

OURS: Final = Candidates(ours=(reported(),))
LOOKALIKE: Final = Candidates(lookalikes=(reported(),))
NOTHING: Final = Candidates()

MARKED: Final = an_order()
TOKEN: Final = reference_token(MARKED.idempotency_key)
FOREIGN: Final = "[wd:0123456789ab]"
#: An order whose reference did not fit beside its description.
UNMARKED: Final = replace(MARKED, body=b'{"amount":"500.00","description":"rent"}')
#: One whose customer wrote down what looks like a reference.
DISGUISED: Final = replace(MARKED, body=b'{"description":"%s"}' % FOREIGN.encode())

ALIKE: Final[list[dict[str, Any]]] = [
    {},
    *({"amount": amount} for amount in ("500", "500.0", "500.000", "0500.00", "5E+2")),
    {"currency": None},
    {"method": None},
    {"target_id": None},
    {"created_on": None},
    # The days are told in a zone that nobody knows.
    *({"created_on": day} for day in (date(2026, 5, 31), date(2026, 6, 2), date(2026, 6, 3))),
    {"party_id": "inv_01"},
]
UNLIKE: Final[list[dict[str, Any]]] = [
    *({"amount": amount} for amount in ("500.01", "50.00", "-500.00", "5000")),
    *({"currency": currency} for currency in ("EUR", "US", "")),
]
EARLIER: Final[dict[str, Any]] = {"created_on": date(2026, 5, 30)}
#: A day after the last moment at which a call may have left, and one more.
LATER: Final[dict[str, Any]] = {"created_on": date(2026, 6, 4)}
#: What a provider may write otherwise than it was sent, or not at all.
DOUBTFUL: Final[list[dict[str, Any]]] = [
    *({"amount": amount} for amount in (None, "", "1,000.00", "NaN", "sNaN", "-Infinity", "5 USD")),
    {"currency": "usd"},
    {"method": "ach_plaid"},
    {"party_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"},
    {"target_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"},
]


def found(entry: Entry, order: Order = MARKED) -> Candidates:
    """What is found in a list of one entry."""
    return candidates(a_withdrawal(order), [entry], window=PATIENCE.window)


@pytest.mark.parametrize("changes", ALIKE, ids=str)
def test_a_reference_makes_it_ours(changes: dict[str, Any]) -> None:
    """
    Our reference beside nothing that disagrees: it is ours.
    """
    assert OURS == found(an_entry(**changes))


@pytest.mark.parametrize(
    "text", [TOKEN, f"rent {TOKEN}", f"{TOKEN}x", f"{FOREIGN} {TOKEN}", f"rent ({TOKEN[1:-1]})"]
)
def test_the_reference_may_stand_anywhere(text: str) -> None:
    """
    A provider may put its own words around ours.
    """
    assert OURS == found(an_entry(text=text))


@pytest.mark.parametrize("changes", UNLIKE + DOUBTFUL, ids=str)
def test_a_reference_is_never_explained_away(changes: dict[str, Any]) -> None:
    """
    Our reference beside something that disagrees: a person must look, and nothing is sent again.
    """
    assert LOOKALIKE == found(an_entry(**changes))


@pytest.mark.parametrize("text", [None, "", "rent", "[wd:f3ec", "[WD:F3ECA9B7728B]", "wd-1"])
@pytest.mark.parametrize("changes", ALIKE + DOUBTFUL, ids=str)
def test_a_lost_reference_leaves_a_lookalike(text: str | None, changes: dict[str, Any]) -> None:
    """
    We sent a reference and the entry shows none: it may be ours, its text shortened on the way.
    """
    assert LOOKALIKE == found(an_entry(text=text, **changes))


@pytest.mark.parametrize("order", [MARKED, UNMARKED], ids=["marked", "unmarked"])
@pytest.mark.parametrize("changes", [*UNLIKE, EARLIER], ids=str)
def test_another_sum_or_day_without_our_reference_is_anothers(
    order: Order, changes: dict[str, Any]
) -> None:
    """
    An entry that differs in what a provider cannot rewrite is somebody else's.
    """
    assert NOTHING == found(an_entry(text="rent", **changes), order)


@pytest.mark.parametrize("order", [MARKED, UNMARKED], ids=["marked", "unmarked"])
def test_a_foreign_reference_is_anothers(order: Order) -> None:
    """
    However alike, what carries another request's reference belongs to that one.
    """
    assert NOTHING == found(an_entry(text=f"rent {FOREIGN}"), order)
    assert NOTHING == found(an_entry(text=f"rent ({FOREIGN[1:-1]})"), order)


@pytest.mark.parametrize("changes", ALIKE, ids=str)
def test_without_a_reference_likeness_in_all_must_do(changes: dict[str, Any]) -> None:
    """
    Where we could send no reference, an entry that agrees in everything it shows is ours.
    """
    assert OURS == found(an_entry(text="rent", **changes), UNMARKED)


@pytest.mark.parametrize("changes", DOUBTFUL, ids=str)
def test_without_a_reference_likeness_in_part_is_not_enough(changes: dict[str, Any]) -> None:
    """
    A provider may write method and target in words of its own: a person must look.
    """
    assert LOOKALIKE == found(an_entry(text="rent", **changes), UNMARKED)


@pytest.mark.parametrize("text", ["rent", " Rent\n", "RENT", "", None])
def test_without_a_reference_the_text_that_was_sent_is_ours(text: str | None) -> None:
    """
    Spacing and case are a provider's matter, and what it does not show says nothing.
    """
    assert OURS == found(an_entry(text=text), UNMARKED)


@pytest.mark.parametrize("text", ["food", "rent for June", "ren"])
def test_without_a_reference_another_text_needs_a_person(text: str) -> None:
    """
    All else being equal it may be the customer's own, which must not pass for what was asked for.
    """
    assert LOOKALIKE == found(an_entry(text=text), UNMARKED)


def test_where_no_text_was_sent_none_speaks_against_an_entry() -> None:
    """
    The provider may have written one of its own.
    """
    silent = replace(UNMARKED, body=b'{"amount":"500.00"}')

    assert OURS == found(an_entry(text="Withdrawal"), silent)


def test_a_reference_that_was_not_sent_needs_a_person() -> None:
    """
    Our reference on an entry, though this body had none: something is wrong, nothing is concluded.
    """
    assert LOOKALIKE == found(an_entry(), UNMARKED)


def test_what_the_customer_wrote_is_no_foreign_reference() -> None:
    """
    A description that only looks like a reference hides nothing: that would be paid twice.
    """
    assert OURS == found(an_entry(text=FOREIGN), DISGUISED)


def test_a_reference_outweighs_the_day() -> None:
    """
    Nobody else can have written it, so it is ours, however the days were counted.
    """
    assert OURS == found(an_entry(**EARLIER))


def test_a_fresh_attempt_still_sees_the_one_before() -> None:
    """
    Days count from when the request came in, not from the newest attempt.
    """
    late = a_withdrawal(first_attempt_at=an_order().taken_at.replace(day=30))

    assert OURS == candidates(late, [an_entry()], window=PATIENCE.window)


def test_every_entry_is_weighed_by_itself() -> None:
    """
    Ours, lookalikes and others' are told apart in one list, in its order.
    """
    entries = [
        an_entry(reported=reported(withdrawal_id="wd_1"), text="rent"),
        an_entry(reported=reported(withdrawal_id="wd_2")),
        an_entry(reported=reported(withdrawal_id="wd_3"), text=FOREIGN),
        an_entry(reported=reported(withdrawal_id="wd_4")),
    ]

    result = candidates(a_withdrawal(), entries, window=PATIENCE.window)

    assert ["wd_2", "wd_4"] == [entry.withdrawal_id for entry in result.ours]
    assert ["wd_1"] == [entry.withdrawal_id for entry in result.lookalikes]
    assert frozenset({"wd_1", "wd_2", "wd_4"}) == result.ids


def test_what_others_own_is_left_out() -> None:
    """
    An id that belongs to another request is no candidate, ours or lookalike.
    """
    one, two, three = (reported(withdrawal_id=f"wd_{n}") for n in (1, 2, 3))
    both = Candidates(ours=(one, two), lookalikes=(three,))

    assert Candidates(ours=(two,)) == both.without(frozenset({"wd_1", "wd_3", "wd_9"}))
    assert both == both.without(frozenset())


def test_an_amount_of_another_notation_is_the_same_sum() -> None:
    """
    Sums are compared as numbers, not as texts.
    """
    order = an_order(amount=Decimal("1.10"))

    assert OURS == found(an_entry(order, amount="1.1"), order)
    assert LOOKALIKE == found(an_entry(order, amount="1.01"), order)


@pytest.mark.parametrize(
    ("order", "expected"),
    [(UNMARKED, LOOKALIKE), (MARKED, OURS)],
    ids=["unmarked", "marked"],
)
def test_what_is_younger_than_every_call_needs_a_person(order: Order, expected: Candidates) -> None:
    """
    It may be the customer's own, made while nobody looked; only our reference outweighs the day.
    """
    text = "rent" if order is UNMARKED else f"rent {TOKEN}"

    assert expected == found(an_entry(text=text, **LATER), order)


def test_without_a_first_attempt_no_day_is_too_late() -> None:
    """
    What is not known of our calls rules nothing out.
    """
    withdrawal = a_withdrawal(UNMARKED, first_attempt_at=None)
    entry = an_entry(text="rent", **LATER)

    assert OURS == candidates(withdrawal, [entry], window=PATIENCE.window)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"text": None}, None),
        (EARLIER, "it was created before the request was taken in"),
        ({"amount": "500.01"}, "it has another amount"),
        ({"currency": "EUR"}, "it has another currency"),
        ({"party_id": "inv_02"}, None),
        ({"text": FOREIGN}, "it carries the reference of another request"),
    ],
    ids=str,
)
def test_what_speaks_against_an_entry_is_said(
    changes: dict[str, Any], sentence: str | None
) -> None:
    """
    A person who points to the wrong withdrawal is told what is wrong with it.
    """
    assert sentence == contradiction(MARKED, an_entry(**changes))


@pytest.mark.parametrize(
    ("first_at", "now", "days"),
    [
        (NOW, NOW + timedelta(hours=1), (date(2026, 5, 30), date(2026, 6, 3))),
        (NOW, NOW + timedelta(days=9), (date(2026, 5, 30), date(2026, 6, 12))),
        (NOW + timedelta(days=5), NOW + timedelta(days=6), (date(2026, 5, 30), date(2026, 6, 9))),
        (None, NOW + timedelta(hours=1), (date(2026, 5, 30), date(2026, 6, 3))),
    ],
    ids=["at once", "after a week", "a fresh attempt", "never begun"],
)
def test_the_list_is_read_from_the_intake_to_now(
    first_at: datetime | None, now: datetime, days: tuple[date, date]
) -> None:
    """
    With two days of slack on either side: one for the zone of the days, one for their bounds.
    """
    withdrawal = a_withdrawal(first_attempt_at=first_at)

    assert days == days_to_read(withdrawal, now=now, window=PATIENCE.window)


def test_a_clock_that_went_back_hides_no_day() -> None:
    """
    Calls left by the old time as well: all days between are read, up to the last possible call.
    """
    back = NOW - timedelta(days=3)

    assert (date(2026, 5, 27), date(2026, 6, 4)) == days_to_read(
        a_withdrawal(), now=back, window=PATIENCE.window
    )


def _by_day_inclusive(first: date, last: date, at: datetime) -> bool:
    return first <= at.date() <= last


def _by_day_exclusive(first: date, last: date, at: datetime) -> bool:
    return first < at.date() < last


def _by_midnight(first: date, last: date, at: datetime) -> bool:
    since, until = (datetime.combine(day, time(), at.tzinfo) for day in (first, last))
    return since < at < until


@pytest.mark.parametrize(
    "reading",
    [_by_day_inclusive, _by_day_exclusive, _by_midnight],
    ids=["inclusive", "exclusive", "midnight"],
)
def test_in_no_zone_and_by_no_reading_of_a_day_a_payout_is_missed(
    reading: Callable[[date, date, datetime], bool],
) -> None:
    """
    What our call created is on the days asked for; else it would be told as expired, or made again.
    """
    missed = []
    for hour, offset in product(range(24), range(-12, 15)):
        taken_at = NOW.replace(hour=hour, minute=30)
        withdrawal = a_withdrawal(an_order(taken_at=taken_at), first_attempt_at=taken_at)
        created_at = taken_at.astimezone(timezone(timedelta(hours=offset)))
        first, last = days_to_read(withdrawal, now=taken_at, window=PATIENCE.window)
        if not reading(first, last, created_at):
            missed.append((hour, offset))

    assert [] == missed
