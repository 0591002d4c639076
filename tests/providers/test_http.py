"""One exchange: what is read of an answer, what silence is called, and what is not kept."""

from __future__ import annotations

import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.canned import Drip, Raw, Said, canned
from tests.providers.stages import FAST, PATIENT
from worker.providers.http import (
    BODY_LIMIT,
    RETRY_AFTER_LIMIT,
    Line,
    Postponed,
    Reply,
    Silence,
    retry_after,
)
from worker.providers.pace import Alone, Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.providers.canned import Answer
    from worker.providers.http import Outcome

NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
#: What a date in a header is made of, and some more.
PARTS = ["Mon,", "01", "Jun", "2026", "10:01:30", "9" * 20, ":", "+", "-9999", "9", "GMT", "(", '"']


def undated(outcome: Outcome) -> Outcome:
    """The same outcome without the server's time, which is another at each run."""
    return replace(outcome, answered_at=None) if isinstance(outcome, Reply) else outcome


def nobody(*_told: object) -> None:
    """Hear and forget."""


@asynccontextmanager
async def opened(
    base_url: str,
    *,
    timeout: timedelta = PATIENT,  # noqa: ASYNC109 - the line's own
    observe: Callable[[str, str, float], None] = nobody,
) -> AsyncIterator[Line]:
    """Open a line."""
    auth = httpx.BasicAuth("key", "secret")
    pace = Pace(Alone(FAST).reserve, waited=nobody)
    async with Line(base_url, auth=auth, pace=pace, timeout=timeout, observe=observe) as line:
        yield line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("soon", None),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        (".5", None),
        ("1.", None),
        ("0x10", None),
        ("٣٠", None),
        ("³", None),
        ("1 2", None),
        ("1, soon", None),
        ("0", timedelta(0)),
        ("0.0", timedelta(0)),
        ("1", SECOND),
        ("0.001", SECOND),
        ("1.5", 2 * SECOND),
        ("1.0", SECOND),
        (" 30 ", 30 * SECOND),
        ("1, 30", 30 * SECOND),
        ("0000000000000030", 30 * SECOND),
        ("3599", 3599 * SECOND),
        ("3600", RETRY_AFTER_LIMIT),
        ("3601", RETRY_AFTER_LIMIT),
        ("9" * 30, RETRY_AFTER_LIMIT),
        ("9" * 5000, RETRY_AFTER_LIMIT),
        # The three forms of RFC 9110, section 5.6.7.
        ("Mon, 01 Jun 2026 10:01:30 GMT", 90 * SECOND),
        ("Monday, 01-Jun-26 10:01:30 GMT", 90 * SECOND),
        ("Mon Jun  1 10:01:30 2026", 90 * SECOND),
        ("Mon, 01 Jun 2026 12:01:30 +0200", 90 * SECOND),
        ("Mon, 01 Jun 2026 10:01:30 -0000", 90 * SECOND),
        ("Mon, 01 Jun 2026 09:58:30 GMT", timedelta(0)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", timedelta(0)),
        ("Sun Nov  6 08:49:37 1994", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_LIMIT),
        ("Mon, 01 Jan 0001 00:00:00 GMT", timedelta(0)),
        ("Mon, 99 Jun 2026 10:01:30 GMT", None),
        ("Mon, 01 Jun 99999999999999999999 10:01:30 GMT", None),
        ("2026-06-01T10:01:30Z", None),
        ("Mon, 01 Jun 2026 10:01:30 GMT, Mon, 01 Jun 2026 10:02:30 GMT", 90 * SECOND),
    ],
)
def test_retry_after_is_read(value: str, expected: timedelta | None) -> None:
    """
    Seconds or a date, never negative, an hour at the most; what is neither is nothing.
    """
    assert expected == retry_after([value], answered_at=None, now=NOW)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["soon", "later"], None),
        (["7", "30"], 30 * SECOND),
        (["30", "7"], 30 * SECOND),
        (["soon", "7"], 7 * SECOND),
        (["-1", "7"], 7 * SECOND),
        (["7", "Mon, 01 Jun 2026 10:01:30 GMT"], 90 * SECOND),
        (["7", "Mon, 01 Jun 2026 09:58:30 GMT"], 7 * SECOND),
        (["7", "99999"], RETRY_AFTER_LIMIT),
    ],
    ids=repr,
)
def test_of_several_waits_the_longest_holds(values: list[str], expected: timedelta | None) -> None:
    """
    A header that came twice is not taken for none; waiting longer harms nobody.
    """
    assert expected == retry_after(values, answered_at=None, now=NOW)


@pytest.mark.parametrize(
    ("answered_at", "expected"),
    [
        # The server's clock is a day behind ours, or ahead of it: its own two moments count.
        ("Sun, 31 May 2026 10:00:00 GMT", RETRY_AFTER_LIMIT),
        ("Mon, 01 Jun 2026 10:01:00 GMT", 30 * SECOND),
        ("Monday, 01-Jun-26 10:01:00 GMT", 30 * SECOND),
        ("Mon Jun  1 10:01:00 2026", 30 * SECOND),
        ("Tue, 02 Jun 2026 10:00:00 GMT", timedelta(0)),
        # Without a moment of its own, our clock has to do.
        (None, 90 * SECOND),
        ("", 90 * SECOND),
        ("yesterday", 90 * SECOND),
        ("Mon, 01 Jun 99999999999999999999 10:00:00 GMT", 90 * SECOND),
    ],
    ids=repr,
)
def test_a_date_is_compared_with_the_answers_own(
    answered_at: str | None, expected: timedelta
) -> None:
    """
    Both are the server's clock, so the wait is right even where ours is wrong.
    """
    values = ["Mon, 01 Jun 2026 10:01:30 GMT"]

    assert expected == retry_after(values, answered_at=answered_at, now=NOW)


def test_seconds_need_no_clock() -> None:
    """
    Only a date is compared with anything.
    """
    answered_at = "Fri, 31 Dec 9999 23:59:59 GMT"

    assert 7 * SECOND == retry_after(["7"], answered_at=answered_at, now=NOW)


HEADERS = st.text() | st.lists(st.sampled_from(PARTS)).map(" ".join)


@given(st.lists(HEADERS, max_size=3), st.none() | HEADERS)
def test_no_header_breaks_the_reading(values: list[str], answered_at: str | None) -> None:
    """
    Whatever a server sends, the wait lies within its bounds.
    """
    wait = retry_after(values, answered_at=answered_at, now=NOW)

    assert wait is None or timedelta(0) <= wait <= RETRY_AFTER_LIMIT


@pytest.mark.parametrize(
    ("said", "expected", "outcome"),
    [
        (Said(200, {"a": 1}), Reply(200, {"a": 1}, None, None), "2xx"),
        (Said(404, b"?"), Reply(404, None, None, None), "4xx"),
        (Said(200, [1]), Reply(200, None, None, None), "2xx"),
        (
            Said(503, {}, {"Retry-After": "7", "X-Request-Id": "req_1"}),
            Reply(503, {}, "req_1", 7 * SECOND),
            "5xx",
        ),
        (Said(302, headers={"Location": "/v1/x"}), Reply(302, None, None, None), "3xx"),
        (Said(200, b" " * (BODY_LIMIT + 1)), Silence("oversized"), "oversized"),
        (Raw(b""), Silence("connection"), "connection"),
        (
            Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
            Silence("connection"),
            "connection",
        ),
        (Raw(b"HTTP/9.9 ???\r\n\r\n"), Silence("transport"), "transport"),
        (Drip(), Silence("timeout"), "timeout"),
    ],
    ids=["object", "no JSON", "list", "headers", "redirect", "flood", "cut", "half", "odd", "drip"],
)
async def test_every_exchange_has_an_outcome(
    said: Answer, expected: Reply | Silence, outcome: str
) -> None:
    """
    A reply or a silence, each told to the observer in one word of a closed set.
    """
    told: list[tuple[str, str, float]] = []
    patience = timedelta(seconds=0.2) if isinstance(said, Drip) else PATIENT
    async with (
        canned(said) as server,
        opened(
            server.base_url, timeout=patience, observe=lambda *observed: told.append(observed)
        ) as line,
    ):
        answer = await line.exchange("look", "GET", "/x")

    assert expected == undated(answer)
    ((operation, word, seconds),) = told
    assert ("look", outcome) == (operation, word)
    assert seconds >= 0


async def test_nobody_at_home_is_a_silence() -> None:
    """
    A refused connection is told apart from a server that takes its time.
    """
    async with canned(Said(200)) as server:
        base_url = server.base_url
    async with opened(base_url) as line:
        assert Silence("connection") == await line.exchange("look", "GET", "/x")


async def test_a_compressed_reply_is_read() -> None:
    """
    Gzip is asked for and read; the limit holds for what comes out of it.
    """
    packed = {"Content-Encoding": "gzip"}
    answers = (
        Said(200, gzip.compress(json.dumps({"a": 1}).encode()), packed),
        Said(200, gzip.compress(b" " * (BODY_LIMIT + 1)), packed),
    )
    async with canned(*answers) as server, opened(server.base_url) as line:
        small, bomb = [await line.exchange("look", "GET", "/x") for _ in range(2)]

    assert Reply(200, {"a": 1}, None, None) == undated(small)
    assert Silence("oversized") == bomb
    assert "gzip" == server.heard[0].headers["Accept-Encoding"]


async def test_no_cookie_is_sent_back() -> None:
    """
    A cookie would tie our calls together behind our back.
    """
    async with (
        canned(Said(200, headers={"Set-Cookie": "who=us; Path=/"})) as server,
        # By name: cookies of a bare address are not kept anyway.
        opened(server.base_url.replace("127.0.0.1", "localhost")) as line,
    ):
        answers = [await line.exchange("look", "GET", "/x") for _ in range(2)]

    assert {Reply} == {type(answer) for answer in answers}
    assert [None, None] == [heard.headers.get("Cookie") for heard in server.heard]


async def test_no_redirect_is_followed() -> None:
    """
    Neither a read nor a write goes anywhere but where it was sent.
    """
    for status in (301, 302, 303, 307, 308):
        said = Said(status, headers={"Location": "/v1/elsewhere"})
        async with canned(said) as server, opened(server.base_url) as line:
            await line.exchange("look", "GET", "/x")
            await line.exchange("create", "POST", "/x", body=b"{}")

        assert ["/v1/x", "/v1/x"] == [heard.path for heard in server.heard]


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A proxy that happens to be set on a machine changes nothing.
    """
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with canned(Said(200, {})) as server, opened(server.base_url) as line:
        answer = await line.exchange("look", "GET", "/x")

    assert Reply(200, {}, None, None) == undated(answer)


@pytest.mark.parametrize(
    ("date", "answered_at"),
    [("Mon, 02 Mar 2026 09:15:04 GMT", datetime(2026, 3, 2, 9, 15, 4, tzinfo=UTC)), ("?", None)],
)
async def test_a_reply_tells_the_time_of_its_server(
    date: str, answered_at: datetime | None
) -> None:
    """
    By its `Date`, where that is one.
    """
    async with canned(Said(200, headers={"Date": date})) as server, opened(server.base_url) as line:
        answer = await line.exchange("look", "GET", "/x")

    assert isinstance(answer, Reply)
    assert answered_at == answer.answered_at


async def test_a_body_that_is_not_there_has_no_type() -> None:
    """
    The transport adds no header about it: a signature would not cover that.
    """
    async with canned(Said(200)) as server, opened(server.base_url) as line:
        await line.exchange("cancel", "POST", "/x")

    assert "Content-Type" not in server.heard[0].headers


async def test_what_may_not_leave_does_not() -> None:
    """
    The question is asked last of all, and nothing is observed of a call that did not happen.
    """
    told: list[object] = []
    async with (
        canned(Said(200, {})) as server,
        opened(server.base_url, observe=lambda *observed: told.append(observed)) as line,
    ):
        answer = await line.exchange("create", "POST", "/x", may_leave=lambda: False)

    assert Postponed(timedelta(0)) == answer
    assert [] == server.heard == told


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "3000"}, 2000, 3000),
        ({"Retry-After": "99999"}, 3000, 3600),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=2))}, 3000, 3600),
    ],
    ids=["seconds", "bounded", "date"],
)
async def test_a_429_postpones_whatever_comes_next(
    headers: dict[str, str], least: int, most: int
) -> None:
    """
    For as long as it said, within an hour; the next call is not sent.
    """
    async with canned(Said(429, headers=headers)) as server, opened(server.base_url) as line:
        first = await line.exchange("create", "POST", "/x")
        second = await line.exchange("look", "GET", "/x")

    assert isinstance(first, Reply)
    assert isinstance(second, Postponed)
    assert least * SECOND < second.wait <= most * SECOND
    assert 1 == len(server.heard)


def test_a_reply_does_not_show_its_document() -> None:
    """
    What a provider wrote may hold personal data.
    """
    assert "Jane" not in repr(Reply(200, {"name": "Jane Doe"}, "req_1", None))
