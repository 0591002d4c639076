"""The keys of Upvest's webhooks: when they are fetched, and what is known without it.

In virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers import virtual_time
from tests.providers.upvest_signer import KeyDesk, Signer
from worker.flows.journey import ids, within
from worker.providers.http import Postponed, Reply, Silence
from worker.providers.upvest_keys import (
    KEYS_LIMIT,
    PAUSE_SECONDS,
    RENEW_SECONDS,
    WAIT_SECONDS,
    KeysOutOfReach,
    VerifyKeys,
)

if TYPE_CHECKING:
    from worker.providers.http import Outcome
    from worker.providers.upvest_access import Scope

OLD: Final = Signer("old")
NEW: Final = Signer("new")


class SlowDesk(KeyDesk):
    """Takes its time for every answer."""

    def __init__(self, *signers: Signer, seconds: float) -> None:
        super().__init__(*signers)
        self.seconds = seconds

    async def exchange(self, operation: str, method: str, path: str, *, scope: Scope) -> Outcome:
        """Answer after a while, by what is listed then."""
        await asyncio.sleep(self.seconds)
        return await super().exchange(operation, method, path, scope=scope)


def test_one_fetch_serves_all_who_wait() -> None:
    """
    However many ask at once for however many ids; whoever comes later needs none.
    """
    desk = SlowDesk(OLD, NEW, seconds=1.0)

    async def story() -> list[bool]:
        keys = VerifyKeys(desk)
        ids = ["old", "new", "nobody's"] * 20
        found = await asyncio.gather(*(keys.key(each) for each in ids))
        return [key is not None for key in (*found, await keys.key("new"))]

    assert [*([True, True, False] * 20), True] == virtual_time.run(story())
    assert 1 == desk.asked


def test_keys_are_fetched_in_nobodys_name() -> None:
    """
    They are for all: what is said of it carries no ids of whoever lacked them first.
    """
    said: list[dict[str, str]] = []

    class Desk(KeyDesk):
        async def exchange(self, *_: object, **__: object) -> Outcome:
            said.append(dict(ids()))
            return Silence("timeout")

    async def story() -> None:
        with within({"message_id": "m-1"}), pytest.raises(KeysOutOfReach):
            await VerifyKeys(Desk()).key("old")

    virtual_time.run(story())

    assert [{}] == said


def test_invented_ids_do_not_make_us_call() -> None:
    """
    Once in a pause, whoever asks for what; a key that Upvest has taken into use is known after it.
    """
    desk = KeyDesk(OLD)

    async def story() -> tuple[bool, bool]:
        keys = VerifyKeys(desk)
        await keys.key("old")
        desk.listed.append(NEW.jwk)
        is_known = await keys.key("new") is not None
        for number in range(1000):
            await keys.key(f"invented-{number}")
            await asyncio.sleep(PAUSE_SECONDS / 100)
        return is_known, await keys.key("new") is not None

    assert (False, True) == virtual_time.run(story())
    assert 2 <= desk.asked <= 1 + 10


def test_a_fetch_that_fails_takes_nothing_away() -> None:
    """
    What was known is known; of what was not nobody can tell, and the next pause is waited for.
    """
    desk = KeyDesk(OLD)

    async def story() -> tuple[bool, int]:
        keys = VerifyKeys(desk)
        await keys.key("old")
        desk.is_away = True
        await asyncio.sleep(RENEW_SECONDS + 1)
        for _ in range(9):
            with pytest.raises(KeysOutOfReach):
                await keys.key("new")
        return await keys.key("old") is not None, desk.asked

    assert (True, 2) == virtual_time.run(story())


def test_nobody_waits_long_for_keys() -> None:
    """
    They are asked to come again, and find what was fetched meanwhile.
    """
    desk = SlowDesk(OLD, seconds=WAIT_SECONDS + 1)

    async def story() -> tuple[float, bool]:
        keys = VerifyKeys(desk)
        with pytest.raises(KeysOutOfReach):
            await keys.key("old")
        waited = virtual_time.now()
        await asyncio.sleep(1)
        return waited, await keys.key("old") is not None

    assert (WAIT_SECONDS, True) == virtual_time.run(story())
    assert 1 == desk.asked


def test_a_key_that_was_withdrawn_ends_to_count() -> None:
    """
    An hour after it was fetched the list is read again, while the delivery at hand goes on.
    """
    desk = KeyDesk(OLD, NEW)

    async def story() -> list[bool]:
        keys = VerifyKeys(desk)
        before = await keys.key("old")
        desk.listed = [NEW.jwk]
        await asyncio.sleep(RENEW_SECONDS + 1)
        found = [before, await keys.key("old")]
        await asyncio.sleep(PAUSE_SECONDS + 1)
        return [key is not None for key in (*found, await keys.key("old"))]

    assert [True, True, False] == virtual_time.run(story())


@pytest.mark.parametrize(
    ("listed", "is_known"),
    [
        ([None, [], {"kid": 7}, {"kid": "x"}, OLD.jwk], True),
        ([OLD.jwk | {"alg": "ES512", "use": "sig"}], True),
        ([OLD.jwk | {"x": OLD.jwk["x"] + "=="}], True),
        ([OLD.jwk | {"kty": "RSA"}], False),
        ([OLD.jwk | {"crv": "P-256"}], False),
        ([OLD.jwk | {"x": NEW.jwk["x"]}], False),
        ([OLD.jwk | {"x": "é"}], False),
        ([OLD.jwk | {"x": "A"}], False),
        ([OLD.jwk | {"x": "A" * 101}], False),
        ([OLD.jwk | {"x": 7, "y": None}], False),
        ([{**OLD.jwk, "kid": "k" * 257}], False),
        ([{"kid": str(n)} for n in range(KEYS_LIMIT)] + [OLD.jwk], False),
    ],
)
def test_what_is_no_key_is_left_out(listed: list[Any], is_known: bool) -> None:
    """
    A key is a point on P-521; without a single one nobody can tell anything.
    """
    desk = KeyDesk()
    desk.listed = listed

    async def story() -> bool:
        try:
            return await VerifyKeys(desk).key("old") is not None
        except KeysOutOfReach:
            return False

    assert is_known is virtual_time.run(story())


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Reply(200, None, None, None), "http_200"),
        (Reply(200, {"keys": {}}, None, None), "http_200"),
        (Reply(401, {"keys": [OLD.jwk]}, None, None), "http_401"),
        (Silence("timeout"), "timeout"),
        (Postponed(timedelta(seconds=1)), "postponed"),
    ],
)
def test_an_answer_without_keys_tells_nothing(
    outcome: Outcome, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Refused, in trouble, or in another form: out of reach, not unknown; and it is said why.
    """

    class Desk(KeyDesk):
        async def exchange(self, *_: object, **__: object) -> Outcome:
            return outcome

    async def story() -> None:
        with pytest.raises(KeysOutOfReach):
            await VerifyKeys(Desk()).key("old")

    virtual_time.run(story())
    (record,) = caplog.records

    assert ("keys of webhooks not told", error) == (record.message, vars(record)["error"])
