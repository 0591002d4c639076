"""What every provider is held to beside its answers: who may call, when, and what stays inside.

Each runs once a row of `stages.ROWS`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from tests.providers.builders import NOW, PATIENCE, Clock, a_permit
from tests.providers.canned import Raw, Said
from tests.providers.stages import ROWS, Options, Row, until
from worker.core.answers import Denied, Refused, Reported, Throttled, Unclear
from worker.core.decide import decide_look, decide_lookup
from worker.core.lookup import Candidates
from worker.core.permit import Permit
from worker.core.requests import Request

if TYPE_CHECKING:
    from tests.providers.canned import Answer
    from worker.providers.contract import Provider

pytestmark = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

DAY = timedelta(days=1)
YESTERDAY, TOMORROW = (NOW - DAY).date(), (NOW + DAY).date()


class Stranger(Request):
    """A valid request of no provider."""

    provider: Literal["stranger"]

    @property
    def party_id(self) -> str:
        """Nobody."""
        return "nobody"

    @property
    def target_id(self) -> str:
        """Nowhere."""
        return "target-that-nobody-may-see"

    @property
    def payout_method(self) -> None:
        """No choice."""


async def everything(row: Row, provider: Provider) -> list[object]:
    """Make every call that needs no permit, and return the answers."""
    return [
        await provider.look(row.party, row.unknown_id),
        await provider.cancel(row.party, row.unknown_id),
        await provider.listed(row.party, YESTERDAY, TOMORROW),
    ]


async def test_create_takes_a_permit_and_nothing_else(row: Row) -> None:
    """
    There is no other way to call it, and no other way to a permit.
    """
    async with row.staged() as stage:
        parameters = inspect.signature(stage.provider.create).parameters
        permit = stage.permit()

    assert ["permit"] == list(parameters)
    with pytest.raises(TypeError, match=r"made by .*\.permit alone"):
        Permit(
            permit.idempotency_key,
            permit.party_id,
            permit.body,
            permit.tenure,
            permit.valid_until,
            object(),
        )


async def test_a_body_is_composed_once_and_for_all(row: Row) -> None:
    """
    The same request and key make the same bytes; a request of another provider makes none.
    """
    async with row.staged() as stage:
        composed = {stage.provider.compose(row.request(), "wd-1") for _ in range(3)}
        stranger = Stranger(provider="stranger", amount="1.00", currency="USD")  # type: ignore[arg-type]
        with pytest.raises(TypeError) as error:
            stage.provider.compose(stranger, "wd-1")

    assert 1 == len(composed)
    assert "target-that-nobody-may-see" not in str(error.value)
    assert row.name == stage.provider.name
    assert isinstance(row.request(), stage.provider.shape)


async def test_a_refused_look_says_nothing_about_the_money(row: Row) -> None:
    """
    That the provider does not find a withdrawal moves it nowhere.
    """
    async with row.staged() as stage:
        held = stage.held()
        answer = await stage.provider.look(row.party, row.unknown_id)
        decision = decide_look(held.withdrawal, answer, now=NOW, patience=PATIENCE, chance=0.5)

    assert isinstance(answer, Refused)
    assert () == decision.changes
    assert held.withdrawal.status is decision.withdrawal.status


async def test_a_refused_look_up_is_never_final(row: Row) -> None:
    """
    A list that the provider refuses, in its own words, leaves a doubt as it was.
    """
    refusals = [said for said in row.accepting if said.status >= 400]
    async with row.staged() as stage:
        doubted = stage.held().withdrawal
    for said in refusals:
        async with row.canned(said) as server, row.opened(server.base_url, Options()) as provider:
            answer = await provider.listed(row.party, YESTERDAY, TOMORROW)
        decision = decide_lookup(
            doubted, answer, Candidates(), asked_at=NOW, now=NOW, patience=PATIENCE, chance=0.5
        )

        assert isinstance(answer, Refused)
        assert () == decision.changes
        assert (doubted.status, True) == (decision.withdrawal.status, decision.withdrawal.in_doubt)
    assert refusals


async def test_refused_credentials_are_denied(row: Row) -> None:
    """
    A 401 is an answer of its own, to every call; nothing is carried out.
    """
    async with row.staged() as stage:
        before = await stage.provider.try_credentials()
        stage.company.revoke()
        answers = [
            await stage.provider.create(stage.permit()),
            *await everything(row, stage.provider),
        ]
        after = await stage.provider.try_credentials()

        assert (True, False) == (before, after)
        assert {Denied} == {type(answer) for answer in answers}
        assert 0 == stage.company.executed()


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        (Said(401), False),
        (Said(401, b"<html>"), False),
        (Said(200, b"what?"), None),
        (Said(302, headers={"Location": "/login"}), None),
        (Said(403), None),
        (Said(404), None),
        (Said(429), None),
        (Said(500), None),
        (Said(503), None),
        (Raw(b""), None),
    ],
    ids=str,
)
async def test_only_a_401_refuses_the_credentials(
    row: Row, said: Answer, *, accepted: bool | None
) -> None:
    """
    Nothing else refuses them, and nobody else's words accept them.
    """
    async with row.canned(said) as server, row.opened(server.base_url, Options()) as provider:
        assert accepted is await provider.try_credentials()


async def test_the_providers_own_words_accept_the_credentials(row: Row) -> None:
    """
    Each of them, a refusal too: whoever is refused for another reason was let in.
    """
    for said in row.accepting:
        async with row.canned(said) as server, row.opened(server.base_url, Options()) as provider:
            assert await provider.try_credentials() is True


async def test_a_429_holds_all_calls(row: Row) -> None:
    """
    It is not carried out, tells how long to wait, and meanwhile nothing leaves at all.
    """
    async with (
        row.staged() as stage,
        row.canned(Said(429, headers={"Retry-After": "30"})) as server,
    ):
        permits = [stage.permit(), stage.permit("req-2")]
        async with row.opened(server.base_url, Options()) as provider:
            first = await provider.create(permits[0])
            others = [await provider.create(permits[1]), *await everything(row, provider)]
            accepted = await provider.try_credentials()

    assert isinstance(first, Throttled)
    assert timedelta(seconds=30) == first.retry_after
    assert 1 == len(server.heard)
    assert {Throttled} == {type(answer) for answer in others}
    assert accepted is None


async def test_a_short_429_is_waited_out(row: Row) -> None:
    """
    The company's own limit: who is turned away is let in once the pause that it asked for is over.
    """
    async with row.staged(rate_limit=1) as stage:
        answers = [await stage.provider.create(stage.permit())]
        while not isinstance(answers[-1], Throttled):
            answers.append(await stage.provider.create(stage.permit(f"req-{len(answers)}")))
        carried_out = stage.company.executed()
        afterwards = await stage.provider.create(stage.permit("req-last"))

        assert len(answers) - 1 == carried_out
        assert timedelta(seconds=1) == answers[-1].retry_after
        assert isinstance(afterwards, Reported)
        assert carried_out + 1 == stage.company.executed()


async def test_a_permit_that_has_run_out_is_worth_nothing(row: Row) -> None:
    """
    From its last moment on nothing leaves; just before, it does.
    """
    clock = Clock()
    async with row.staged(Options(clock=clock)) as stage:
        permit = stage.permit()
        clock.now = permit.valid_until
        too_late = await stage.provider.create(permit)
        heard = stage.company.heard()
        clock.now -= timedelta(microseconds=1)
        in_time = await stage.provider.create(permit)

    assert Throttled(timedelta(0)) == too_late
    assert 0 == heard
    assert isinstance(in_time, Reported)


async def test_a_permit_of_a_worker_that_was_taken_for_dead_is_worth_nothing(row: Row) -> None:
    """
    Another one may have taken over while it waited for its turn: nothing leaves.

    Nor later, when it gives signs of life again; a permit for what it has taken since is good.
    """
    tenures: list[int | None] = [2, None, 1]

    def a_while_passes(_operation: str, _seconds: float) -> None:
        if len(tenures) > 1:
            tenures.pop()

    async with row.staged(Options(waited=a_while_passes, tenure=lambda: tenures[-1])) as stage:
        permit = a_permit(replace(stage.held(), tenure=1))
        answers = [await stage.provider.create(permit) for _ in range(2)]
        heard = stage.company.heard()
        fresh = a_permit(replace(stage.held("req-2"), tenure=2))
        answer = await stage.provider.create(fresh)

    assert [Throttled(timedelta(0))] * 2 == answers
    assert 0 == heard
    assert isinstance(answer, Reported)


async def test_a_permit_that_runs_out_while_waiting_is_worth_nothing(row: Row) -> None:
    """
    The time is looked at after the wait for the rate limit, right before the call would leave.
    """
    clock = Clock()

    def hours_pass(_operation: str, _seconds: float) -> None:
        clock.now += DAY

    async with row.staged(Options(clock=clock, waited=hours_pass)) as stage:
        answer = await stage.provider.create(stage.permit())

        assert Throttled(timedelta(0)) == answer
        assert 0 == stage.company.heard()


async def test_cancelled_calls_leave_the_client_usable(row: Row) -> None:
    """
    Hundreds of calls that were cancelled in flight, and the next one is answered.
    """
    async with row.staged() as stage:
        stage.company.strike(hang_before=1.0)
        for turn in range(1, 5):
            permits = [stage.permit(f"req-{turn}-{n}") for n in range(100)]
            calls = [asyncio.create_task(stage.provider.create(permit)) for permit in permits]
            await until(lambda: stage.company.heard() == 100 * turn)  # noqa: B023 - awaited here
            for call in calls:
                call.cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert {asyncio.CancelledError} == {type(answer) for answer in done}
        stage.company.strike()
        answer = await stage.provider.create(stage.permit())

        assert isinstance(answer, Reported)
        assert 1 == stage.company.executed()


async def test_secrets_stay_inside(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """
    No record, no `repr` and no text of an answer shows credentials, bank details or the body.
    """
    caplog.set_level(logging.DEBUG)
    async with row.staged(Options(timeout=timedelta(seconds=5))) as stage:
        held, permit = stage.held(), stage.permit()
        body = permit.body.decode()
        shown: list[object] = [row.request(), held, permit, stage.provider, vars(stage.provider)]
        shown.append(await stage.provider.create(permit))
        for fault in ("drop_before", "error_after", "garbage_after"):
            stage.company.strike(**{fault: 1.0})
            shown += [await stage.provider.create(permit), *await everything(row, stage.provider)]
        stage.company.strike()
        shown.append(await stage.provider.listed(row.party, YESTERDAY, TOMORROW))
        stage.company.revoke()
        shown += [await stage.provider.create(permit), await stage.provider.try_credentials()]
    for said in ({"error": {"message": body}}, {"error": body}, {"message": body, "code": body}):
        async with (
            row.canned(Said(422, said), Said(500, said)) as server,
            row.opened(server.base_url, Options()) as provider,
        ):
            shown += [await provider.create(permit), await provider.create(permit)]
    records = [str(vars(record)) + record.getMessage() for record in caplog.records]

    assert shown
    for secret in (*row.secrets, body):
        assert not [text for text in records if secret in text]
        assert not [thing for thing in shown if secret in f"{thing!r} {thing}"]


async def test_a_breakdown_of_our_own_is_unclear(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A client that was closed meanwhile raises nothing and says nothing about money.
    """
    async with row.staged() as stage:
        permit = stage.permit()
        async with row.opened(stage.company.base_url, Options()) as provider:
            await provider.try_credentials()
        answer = await provider.create(permit)

    assert Unclear("transport") == answer
    assert ["exchange failed"] == [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
