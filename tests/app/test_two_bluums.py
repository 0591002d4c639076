"""Both generations of Bluum's API side by side, as the settings make them: with the real ledger.

What each says on the wire is tested with the providers; here is what they share and what they do
not."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config.settings import Settings
from tests.ledger import second
from tests.providers.builders import a_held, a_permit
from tests.providers.stages import (
    API_KEY,
    API_SECRET,
    bluum_accounts_company,
    bluum_accounts_request,
    bluum_company,
    bluum_request,
)
from worker.app.parts import SHAPES, hearings_of, open_providers
from worker.core.answers import Reported
from worker.ledger.store import open_ledger
from worker.metrics import Metrics
from worker.providers.bluum import BluumAccountsRequest, BluumRequest
from worker.simulator.bluum_generation import AnswerShape
from worker.simulator.bluum_terms import ReplayAnswer
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk


@pytest.mark.parametrize(
    ("older_key", "budgets"), [(API_KEY, 1), ("another-key", 2)], ids=["one pair", "two pairs"]
)
async def test_they_share_what_is_allowed_for_a_key_pair(
    sqlite_url: str, older_key: str, budgets: int
) -> None:
    """
    Bluum counts by key pair (ERR): one budget for one pair, whichever generation it calls.
    """
    async with AsyncExitStack() as stack:
        newer = await stack.enter_async_context(bluum_company())
        older = await stack.enter_async_context(bluum_accounts_company(api_key=older_key))
        settings = Settings(
            bluum={"base_url": newer.base_url, "api_key": API_KEY, "api_secret": API_SECRET},
            bluum_accounts={
                "base_url": older.base_url,
                "api_key": older_key,
                "api_secret": API_SECRET,
            },
        )
        ledger = await stack.enter_async_context(open_ledger(sqlite_url))
        await ledger.heartbeat()
        providers = await open_providers(
            settings, Metrics(version="0"), stack, now=ledger.now, tenure=lambda: 0, ledger=ledger
        )
        requests = {"bluum": bluum_request(), "bluum_accounts": bluum_accounts_request()}
        answers = [
            await providers[name].create(a_permit(a_held(providers[name], request)))
            for name, request in requests.items()
        ]
        rows = await second.read(sqlite_url, "SELECT name FROM budgets")

        assert requests.keys() == providers.keys()
        assert [Reported, Reported] == [type(answer) for answer in answers]
        assert (1, 1) == (newer.executed(), older.executed())
        assert budgets == len(rows)
        assert not [name for (name,) in rows if API_KEY in name or older_key in name]


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (["bluum"], {"bluum"}),
        (["bluum_accounts"], {"bluum_accounts"}),
        (["bluum", "bluum_accounts"], {"bluum", "bluum_accounts"}),
    ],
    ids=lambda value: "+".join(sorted(value)),
)
async def test_each_is_enabled_by_its_own_credentials(
    sqlite_url: str, groups: list[str], names: set[str]
) -> None:
    """
    With its own path for webhooks, under the secret of its own settings.
    """
    group = {"api_key": API_KEY, "api_secret": API_SECRET, "webhook": {"secret": "s"}}
    given: dict[str, Any] = dict.fromkeys(groups, group)
    settings, metrics = Settings(**given), Metrics(version="0")
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(open_ledger(sqlite_url))
        await ledger.heartbeat()
        providers = await open_providers(
            settings, metrics, stack, now=ledger.now, tenure=lambda: 0, ledger=None
        )
        hearings = hearings_of(
            settings, metrics, ledger, access=None, beat=lambda _name: lambda: None
        )

    assert names == providers.keys()
    assert {f"/webhooks/{name}" for name in names} == hearings.keys()
    assert names == {hearing.provider for hearing in hearings.values()}


async def test_a_worker_pays_out_through_both(desk: Desk, start: Start, sqlite_url: str) -> None:
    """
    Half of the answers of the older one get lost, and its repeats are conflicts: each pays once.
    """
    terms = {
        "pace": timedelta(seconds=0.2),
        "replay_answer": ReplayAnswer.CONFLICT,
        "answer_shape": AnswerShape.STATUS,
    }
    asked = {f"older-{number}": f"{number}.00" for number in range(1, 9)}
    async with bluum_accounts_company(terms=terms, faults=Faults(drop_after=0.5)) as older:
        await start(
            sqlite_url,
            WORKER_BLUUM_ACCOUNTS__BASE_URL=older.base_url,
            WORKER_BLUUM_ACCOUNTS__API_KEY=API_KEY,
            WORKER_BLUUM_ACCOUNTS__API_SECRET=API_SECRET,
        )
        for message_id, amount in asked.items():
            request = bluum_accounts_request(amount=amount).model_dump(
                mode="json", exclude_none=True
            )
            await desk.send(message_id, json.dumps(request | {"sell": None}).encode())
        await desk.ask("newer-1", provider="bluum")
        await desk.have_ended(9)
        effects = older.server.record()["effects"]

    assert {"completed"} == {desk.statuses(name)[-1] for name in (*asked, "newer-1")}
    assert sorted(asked.values()) == sorted(effect["amount"] for effect in effects)


def test_every_shape_is_known() -> None:
    """
    Commands check a request before it is sent, whether its provider is enabled here or not.
    """
    assert BluumRequest is SHAPES["bluum"]
    assert BluumAccountsRequest is SHAPES["bluum_accounts"]
