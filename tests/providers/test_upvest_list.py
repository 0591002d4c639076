"""Reading Upvest's lists whole, although they move while they are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from tests.providers.canned import Said, canned
from tests.providers.stages import ACCOUNT_GROUP, TOKEN, Options, open_upvest
from worker.core.answers import Listed, Unclear
from worker.providers.upvest_replies import PAGE, time_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.answers import ListAnswer

TODAY: Final = datetime(2026, 6, 10, 12, tzinfo=UTC)
DAY: Final = timedelta(days=1)
#: More than two pages.
MANY: Final = 2 * PAGE + 50


def entry(number: int, *, age: timedelta | None = None, **fields: object) -> dict[str, Any]:
    """The entry of that number; without an age each is a minute older than the one before."""
    at = TODAY - (timedelta(minutes=number) if age is None else age)
    plain = {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "created_at": at.isoformat(),
        "account_group_id": ACCOUNT_GROUP,
        "amount": "1.00",
        "currency": "EUR",
        "status": "NEW",
    }
    return plain | fields


def ids(*numbers: int) -> list[str]:
    """The ids of these entries."""
    return [str(entry(number)["id"]) for number in numbers]


class Book:
    """A list that is served by the page, as documented; `moved` changes it before each page."""

    def __init__(
        self,
        entries: list[Any],
        *,
        moved: Callable[[int, list[Any]], None] = lambda _turn, _entries: None,
        **meta: Any,  # noqa: ANN401 - any field of the list's `meta`
    ) -> None:
        self.entries = entries
        self.asked: list[tuple[int, int]] = []
        self._moved = moved
        self._meta = meta

    async def page(self, request: web.Request) -> web.Response:
        """Serve one page."""
        query = parse_qs(urlsplit(request.raw_path).query)
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        self._moved(len(self.asked), self.entries)
        self.asked.append((offset, limit))
        data = self.entries[offset : offset + min(limit, self._meta.get("limit", limit))]
        meta: dict[str, Any] = {"offset": offset, "limit": limit, "count": len(data)}
        meta |= {"total_count": len(self.entries)} | self._meta
        return web.json_response({"meta": meta, "data": data})


async def listed(book: Book, *, since: datetime = TODAY - 30 * DAY) -> ListAnswer:
    """Read the list that a book serves, up to tomorrow."""

    async def token(_: web.Request) -> web.Response:
        return web.json_response(TOKEN.body)

    application = web.Application()
    application.router.add_post("/auth/token", token)
    application.router.add_get("/{rest:.*}", book.page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_upvest(url, Options()) as upvest:
            return await upvest.listed(ACCOUNT_GROUP, since.date(), (TODAY + DAY).date())
    finally:
        await runner.cleanup()


def found(answer: ListAnswer) -> list[str]:
    """The ids that were listed."""
    assert isinstance(answer, Listed)
    return [listed.reported.withdrawal_id for listed in answer.entries]


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE, PAGE + 1, MANY])
async def test_a_list_is_read_whole(number: int) -> None:
    """
    However many pages it has, each entry once.
    """
    book = Book([entry(n) for n in range(number)])

    assert ids(*range(number)) == found(await listed(book))


async def test_a_server_may_give_shorter_pages_than_were_asked_for() -> None:
    """
    The highest limit is another on every page of the documentation.
    """
    book = Book([entry(n) for n in range(25)], limit=10)

    assert ids(*range(25)) == found(await listed(book))
    assert [(0, PAGE), (9, PAGE), (18, PAGE)] == book.asked


async def test_new_entries_at_the_front_hide_none() -> None:
    """
    They push the others to the right, where the next page meets them.
    """

    def create(turn: int, entries: list[Any]) -> None:
        if turn == 1:
            entries[:0] = [entry(900 + n, age=-timedelta(minutes=1)) for n in range(7)]

    book = Book([entry(n) for n in range(MANY)], moved=create)

    assert ids(*range(MANY)) == found(await listed(book))


async def test_an_entry_that_comes_before_the_last_one_read_is_read_too() -> None:
    """
    Entries of one time may be in another order on each page.
    """

    def shuffle(turn: int, entries: list[Any]) -> None:
        if turn == 1:
            entries.insert(PAGE - 1, entries.pop(PAGE + 5))

    book = Book([entry(n, age=DAY) for n in range(MANY)], moved=shuffle)

    assert set(ids(*range(MANY))) == set(found(await listed(book)))


async def test_a_list_that_shows_one_twice_and_another_not_is_not_believed() -> None:
    """
    The one that slipped onto a page that was read already might be the one that is looked for.
    """

    def shuffle(turn: int, entries: list[Any]) -> None:
        if turn == 1:
            entries[3], entries[PAGE + 5] = entries[PAGE + 5], entries[3]

    book = Book([entry(n, age=DAY) for n in range(MANY)], moved=shuffle)

    assert Unclear("list_moved") == await listed(book)


@pytest.mark.parametrize("gone", [0, PAGE - 1])
async def test_a_list_that_lost_an_entry_meanwhile_is_not_believed(gone: int) -> None:
    """
    What follows it moves to the left, past the beginning of the next page.
    """

    def lose(turn: int, entries: list[Any]) -> None:
        if turn == 1:
            del entries[gone]

    book = Book([entry(n) for n in range(MANY)], moved=lose)

    assert Unclear("list_moved") == await listed(book)


async def test_it_is_read_no_further_than_was_asked_for() -> None:
    """
    There is no filter by time: what is much older ends the reading, and is left out.
    """
    old = [entry(n, age=3 * DAY + timedelta(minutes=n)) for n in range(5, MANY)]
    book = Book([*(entry(n) for n in range(5)), *old])

    assert ids(*range(5)) == found(await listed(book, since=TODAY - DAY))
    assert 1 == len(book.asked)


@pytest.mark.parametrize(
    "order",
    [
        lambda entries: entries[::-1],
        lambda entries: [entries[6], entries[5], *entries[7:], *entries[:5]],
    ],
    ids=["oldest first", "in none"],
)
async def test_a_list_in_another_order_is_read_to_its_end(
    order: Callable[[list[Any]], list[Any]],
) -> None:
    """
    Entries that are old prove nothing about those behind them, unless the list is sorted.
    """
    old = [entry(n, age=3 * DAY + timedelta(minutes=n)) for n in range(5, MANY)]
    book = Book(order([*(entry(n) for n in range(5)), *old]))

    assert set(ids(*range(5))) == set(found(await listed(book, since=TODAY - DAY)))


async def test_entries_without_a_time_are_never_left_out() -> None:
    """
    And nothing is concluded from where they stand.
    """
    old = [entry(n, age=3 * DAY, created_at=None) for n in range(MANY)]
    book = Book(old)

    assert ids(*range(MANY)) == found(await listed(book, since=TODAY - DAY))


@pytest.mark.parametrize(
    ("entries", "meta", "why"),
    [
        ([entry(0), {"id": "x"}], {}, "unusable_body"),
        ([entry(0), {"amount": "1.00"}], {}, "unusable_body"),
        ([entry(0), "x"], {}, "unusable_body"),
        ([entry(0)], {"total_count": None}, "unusable_body"),
        ([entry(0)], {"total_count": "1"}, "unusable_body"),
        ([entry(0)], {"total_count": True}, "unusable_body"),
        ([entry(0)], {"total_count": 2}, "short_page"),
        ([], {"total_count": 1}, "short_page"),
    ],
)
async def test_a_list_that_is_not_whole_is_not_believed(
    entries: list[Any], meta: dict[str, Any], why: str
) -> None:
    """
    What cannot be read, or is promised and does not come, might be the one that is looked for.
    """
    answer = await listed(Book(entries, **meta))

    assert isinstance(answer, Unclear)
    assert why == answer.why


@pytest.mark.parametrize("body", [[], {}, {"data": []}, {"meta": [], "data": []}])
async def test_what_is_no_page_is_no_list(body: object) -> None:
    """
    An answer of another kind says nothing about what there is.
    """
    async with (
        canned(Said(200, body), asides={"/auth/token": TOKEN}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        answer = await upvest.survey(ACCOUNT_GROUP, TODAY.date(), TODAY.date())

    assert isinstance(answer, Unclear)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-06-10T12:00:00Z", TODAY),
        ("2026-06-10T12:00:00.00Z", TODAY),
        ("2026-06-10T14:00:00+02:00", TODAY),
        ("2026-06-10T12:00:00", TODAY),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("yesterday", None),
        (1780000000, None),
        (None, None),
    ],
)
def test_times_are_read_where_they_are_times(text: object, time: datetime | None) -> None:
    """
    What servers write where they mean that there is none is none.
    """
    assert time == time_of(text)
