"""Looking through Bluum's list: a list is complete, or it is no answer.

A list that lacks an entry can lead to a second payout, so everything doubtful here is unclear."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.providers.canned import Raw, Said, canned
from tests.providers.stages import Options, bluum_company, open_bluum
from worker.core.answers import Denied, Entry, Listed, Refused, Reported, Throttled, Trace, Unclear
from worker.core.withdrawal import Status
from worker.providers.bluum_replies import PAGE, PAGES_LIMIT
from worker.simulator.bluum_withdrawal import Instruction, Method

if TYPE_CHECKING:
    from tests.providers.canned import Answer, Heard
    from worker.core.answers import ListAnswer

SINCE, UNTIL = date(2026, 5, 31), date(2026, 6, 2)


def an_entry(number: int = 1, /, **changes: object) -> dict[str, Any]:
    """One withdrawal of a list; a field that is changed to ... is left out."""
    sample = {
        "id": f"wd_{number:04}",
        "object": "withdrawal",
        "created": 1780308000,
        "status": "pending",
        "amount": "250.75",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_01",
        "description": "rent [wd:0123456789ab]",
    }
    return {name: value for name, value in (sample | changes).items() if value is not ...}


def a_page(*entries: object, has_more: object = False) -> Said:
    """A page in the list envelope (HOW)."""
    document = {"object": "list", "url": "/x", "has_more": has_more, "data": list(entries)}
    # Written here: a NaN is no JSON, and Python writes and reads it all the same.
    return Said(200, json.dumps(document).encode())


async def listed(*pages: Answer) -> tuple[ListAnswer, list[Heard]]:
    """Read a list from a server that says these pages, and tell what it was asked."""
    async with canned(*pages) as server, open_bluum(server.base_url, Options()) as bluum:
        answer = await bluum.listed("inv_01", SINCE, UNTIL)
    return answer, server.heard


async def one(**changes: object) -> Entry:
    """Read a list of one entry."""
    answer, _ = await listed(a_page(an_entry(**changes)))
    assert isinstance(answer, Listed)
    (entry,) = answer.entries
    return entry


def ids(answer: ListAnswer) -> list[str]:
    """The ids in a list."""
    assert isinstance(answer, Listed)
    return [entry.reported.withdrawal_id for entry in answer.entries]


async def test_an_entry_is_read() -> None:
    """
    With all by which one of ours is recognised.
    """
    expected = Entry(
        reported=Reported("wd_0001", Status.PENDING, "pending"),
        amount="250.75",
        currency="USD",
        method="ach",
        target_id="fs_01",
        text="rent [wd:0123456789ab]",
        created_on=date(2026, 6, 1),
    )

    assert expected == await one()


async def test_the_days_are_asked_for_page_by_page() -> None:
    """
    Each page begins with the last entry of the one before it.
    """
    first = a_page(*(an_entry(n) for n in range(1, 101)), has_more=True)
    second = a_page(*(an_entry(n) for n in range(100, 180)), has_more=True)
    third = a_page(*(an_entry(n) for n in range(179, 190)))
    answer, heard = await listed(first, second, third)
    queries = [parse_qs(urlsplit(each.path).query) for each in heard]

    assert [f"wd_{n:04}" for n in range(1, 190)] == ids(answer)
    assert ["0", "99", "178"] == [query["offset"][0] for query in queries]
    assert {("2026-05-31", "2026-06-02", str(PAGE))} == {
        (query["date_from"][0], query["date_to"][0], query["limit"][0]) for query in queries
    }


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 250])
async def test_lists_of_every_length_are_complete(count: int) -> None:
    """
    At the simulator: none missing and none twice, wherever a page happens to end.
    """
    now = datetime.now(UTC)
    instruction = Instruction(
        amount=Decimal("1.00"),
        currency="USD",
        method=Method.ACH,
        funding_source_id="fs_01",
        description=None,
    )
    async with bluum_company() as company, open_bluum(company.base_url, Options()) as bluum:
        for number in range(count):
            company.server.bank.create("inv_01", instruction, body=b"", key=f"wd-{number}", now=now)
        day = timedelta(days=1)
        answer = await bluum.listed("inv_01", (now - day).date(), (now + day).date())
        created = {effect.subject_id for effect in company.server.bank.effects}

    assert count == len(ids(answer))
    assert created == set(ids(answer))


async def test_a_short_page_is_followed_where_it_ended() -> None:
    """
    A server that gives fewer than were asked for and says that there are more is believed.
    """
    first = a_page(*(an_entry(n) for n in range(1, 51)), has_more=True)
    answer, heard = await listed(first, a_page(*(an_entry(n) for n in range(50, 61))))

    assert [f"wd_{n:04}" for n in range(1, 61)] == ids(answer)
    assert "offset=49" in heard[1].path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # One that lay ahead was moved to the front, so all others moved back.
        ([1, 2, 3], [2, 3, 5]),
        # One that was read was taken away, so all others moved up.
        ([1, 2, 3], [4, 5, 6]),
        # The rest is gone.
        ([1, 2, 3], []),
    ],
    ids=["moved back", "moved up", "gone"],
)
async def test_a_list_that_moves_while_it_is_read_is_unclear(
    before: list[int], after: list[int]
) -> None:
    """
    The one that is looked for may have slipped through between two pages.
    """
    first = a_page(*map(an_entry, before), has_more=True)
    answer, _ = await listed(first, a_page(*map(an_entry, after)))

    assert Unclear("list_moved") == answer


async def test_an_entry_is_told_once() -> None:
    """
    One that is on the one page twice is one, as it was seen last: nothing can have moved.
    """
    answer, _ = await listed(a_page(an_entry(1), an_entry(2), an_entry(1, status="completed")))

    assert ["wd_0001", "wd_0002"] == ids(answer)
    assert isinstance(answer, Listed)
    assert Status.COMPLETED is answer.entries[0].reported.status


async def test_the_last_entry_of_a_page_is_told_as_it_was_seen_last() -> None:
    """
    It is on two pages by our own wish.
    """
    first = a_page(an_entry(1), an_entry(2), has_more=True)
    answer, _ = await listed(first, a_page(an_entry(2, status="completed"), an_entry(3)))

    assert ["wd_0001", "wd_0002", "wd_0003"] == ids(answer)
    assert isinstance(answer, Listed)
    assert Status.COMPLETED is answer.entries[1].reported.status


async def test_opposite_moves_between_two_pages_are_unclear() -> None:
    """
    Each page begins where it should; the one that slipped through may be the one looked for.
    """
    first = a_page(an_entry(1), an_entry(2), an_entry(3), has_more=True)
    # Meanwhile 4 went to the front and 1 to the end, so 3 stands where it stood.
    answer, _ = await listed(first, a_page(an_entry(3), an_entry(5), an_entry(1)))

    assert Unclear("list_moved") == answer


@pytest.mark.parametrize("entries", [[], [an_entry()]], ids=["empty", "one"])
async def test_a_page_that_leads_nowhere_is_unclear(entries: list[object]) -> None:
    """
    It promises more and gives no way to get there.
    """
    answer, heard = await listed(a_page(*entries, has_more=True))

    assert Unclear("short_page") == answer
    assert 1 == len(heard)


async def test_an_endless_list_is_unclear() -> None:
    """
    A list that goes on for ever is given up, and nothing is concluded from its beginning.
    """
    answer, heard = await listed(a_page(an_entry(), an_entry(), has_more=True))

    assert Unclear("endless_list") == answer
    assert PAGES_LIMIT == len(heard)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Said(500), Unclear),
        (Said(409), Unclear),
        (Said(404, {"error": {"code": "BLUM-404-001"}}), Refused),
        (Said(404, {"error": {"code": "BLUM-404-002"}}), Unclear),
        (Said(401), Denied),
        (Said(429), Throttled),
        (Said(200, b"<html>"), Unclear),
        (Said(200, {"data": []}), Unclear),
        (Said(200, {"has_more": False}), Unclear),
        (a_page(has_more="no"), Unclear),
        (a_page(has_more=None), Unclear),
        (Raw(b""), Unclear),
    ],
    ids=repr,
)
async def test_no_list_is_told_in_part(failure: Answer, expected: type) -> None:
    """
    A page that fails, first or midway, is the answer to all of it.
    """
    first, _ = await listed(failure)
    midway, _ = await listed(a_page(an_entry(1), an_entry(2), has_more=True), failure)

    assert (expected, expected) == (type(first), type(midway))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "wd_0001",
        ["wd_0001"],
        {},
        an_entry(id=...),
        an_entry(id="../x"),
        an_entry(amount=...),
        an_entry(amount=None),
        an_entry(amount=250.75),
        an_entry(amount=""),
        an_entry(amount="1,250.75"),
        an_entry(amount="-250.75"),
        an_entry(amount="2.5e2"),
        an_entry(amount="NaN"),
        an_entry(amount="٢٥٠"),
        an_entry(amount="$250.75"),
    ],
    ids=repr,
)
async def test_an_entry_that_cannot_be_read_makes_the_list_unclear(entry: object) -> None:
    """
    It might be the very one that is looked for: without id or amount nobody can tell.
    """
    answer, _ = await listed(a_page(an_entry(2), entry, an_entry(3)))

    assert Unclear("unusable_body", trace=Trace(200)) == answer


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"currency": ...}, "currency", None),
        ({"currency": "usd"}, "currency", None),
        ({"currency": 840}, "currency", None),
        ({"currency": "EUR"}, "currency", "EUR"),
        ({"method": ...}, "method", None),
        ({"method": "ach_plaid"}, "method", None),
        ({"method": ["ach"]}, "method", None),
        ({"method": "international_wire"}, "method", "international_wire"),
        ({"funding_source_id": ...}, "target_id", None),
        ({"funding_source_id": {"id": "fs_01"}}, "target_id", None),
        ({"description": None}, "text", None),
        ({"description": 7}, "text", None),
        ({"amount": "250.750000"}, "amount", "250.750000"),
    ],
    ids=repr,
)
async def test_what_is_in_no_documented_form_is_not_shown(
    changes: dict[str, object], field: str, expected: str | None
) -> None:
    """
    What the list does not show cannot speak against an entry's being ours; a strange word could.
    """
    assert expected == getattr(await one(**changes), field)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"created": 1780308000}, date(2026, 6, 1)),
        ({"created": 1780308000.5}, date(2026, 6, 1)),
        ({"created": ..., "created_at": "2026-06-01T10:00:00.000Z"}, date(2026, 6, 1)),
        ({"created": None, "created_at": "2026-06-01T10:00:00+02:00"}, date(2026, 6, 1)),
        ({"created": None, "initiated_at": "2026-06-01T10:00:00Z"}, date(2026, 6, 1)),
        ({"created": "1780308000", "created_at": "2026-06-01"}, date(2026, 6, 1)),
        ({"created": ...}, None),
        ({"created": None, "created_at": 1780308000}, None),
        ({"created": None, "created_at": "yesterday"}, None),
        ({"created": True}, None),
        ({"created": 0}, None),
        ({"created": -62135596800}, None),
        ({"created": ..., "created_at": "0001-01-01T00:00:00Z"}, None),
        ({"created": 1780308000000}, None),
        ({"created": 10**400}, None),
        ({"created": float("nan")}, None),
        ({"created": float("inf")}, None),
    ],
    ids=repr,
)
async def test_the_day_of_creation_is_read_or_left_open(
    changes: dict[str, object], expected: date | None
) -> None:
    """
    Unix seconds or ISO; what is neither excludes nothing.
    """
    assert expected == (await one(**changes)).created_on


async def test_an_unknown_status_in_a_list_is_survived() -> None:
    """
    An entry in a state that nobody documented is still an entry.
    """
    assert Reported("wd_0001", None, "in_review") == (await one(status="in_review")).reported
