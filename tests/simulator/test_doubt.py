"""What makes a client's life hard: reversals, cancellations in vain, late calls, lists that lag."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.simulator.talk import LONG, PLAIN, Talk, error, talking
from worker.simulator.bluum_terms import CancelRule
from worker.simulator.faults import Faults, Reach

if TYPE_CHECKING:
    from worker.simulator.bluum_terms import Terms


def under(**changed: Any) -> Terms:  # noqa: ANN401 - any term
    """Return the plain terms with some changed."""
    return replace(PLAIN.terms, **changed)


async def status(talk: Talk, withdrawal_id: str, investor_id: str = "inv_01") -> str:
    """Read where a withdrawal stands."""
    path = f"/investors/{investor_id}/withdrawals/{withdrawal_id}"
    word: str = (await talk.get(path)).json()["status"]
    return word


def kinds(record: dict[str, Any]) -> list[str]:
    """Return what the effects of a record did."""
    return [effect["effect"] for effect in record["effects"]]


@pytest.mark.parametrize(("to", "word"), [(None, "failed"), ("cancelled", "cancelled")])
async def test_what_was_completed_can_be_reversed(to: str | None, word: str) -> None:
    """
    By a control call, once: the status turns, the money is back, the record tells it.
    """
    async with talking() as talk:
        made = (await talk.create()).json()["id"]
        fields = {"withdrawal_id": made} | ({} if to is None else {"status": to})
        early = await talk.control("POST", "reversals", **fields)
        await talk.advance(LONG)
        paid = (await talk.wallet())["balance"]
        turned = await talk.control("POST", "reversals", **fields)
        again = await talk.control("POST", "reversals", **fields)
        read = (await talk.get(f"/investors/inv_01/withdrawals/{made}")).json()
        back = (await talk.wallet())["balance"]
        record = await talk.record()

    assert [400, 200, 400] == [early.status_code, turned.status_code, again.status_code]
    assert turned.json() == read
    assert (word, word == "failed") == (read["status"], read["failure_reason"] is not None)
    assert ("999749.25", "1000000.00") == (paid, back)
    assert ["withdrawal", "reversal"] == kinds(record)
    assert (made, word) == (record["effects"][1]["id"], record["effects"][1]["status"])


@pytest.mark.parametrize(
    ("investor_id", "word"), [("inv_returned_1", "failed"), ("inv_recalled_1", "cancelled")]
)
async def test_some_investors_payouts_are_always_reversed(investor_id: str, word: str) -> None:
    """
    Completed first, and a reversal delay later the other word.
    """
    delay = timedelta(seconds=LONG * 2)
    async with talking(replace(PLAIN, terms=under(reversal_delay=delay))) as talk:
        made = (await talk.create(investor_id)).json()["id"]
        await talk.advance(LONG)
        completed = await status(talk, made, investor_id)
        await talk.advance(LONG * 2)
        reversed_to = await status(talk, made, investor_id)

    assert ("completed", word) == (completed, reversed_to)


@pytest.mark.parametrize(
    ("rule", "investor_id", "answered", "told", "ended"),
    [
        (CancelRule.PENDING, "inv_01", 200, "cancelled", "cancelled"),
        (CancelRule.REFUSED, "inv_01", 409, None, "completed"),
        (CancelRule.UNHEEDED, "inv_01", 200, "pending", "completed"),
        (CancelRule.UNTRUE, "inv_01", 200, "cancelled", "completed"),
        (CancelRule.PENDING, "inv_stubborn_1", 409, None, "completed"),
        (CancelRule.PENDING, "inv_unheeded_1", 200, "pending", "completed"),
        (CancelRule.PENDING, "inv_untrue_1", 200, "cancelled", "completed"),
    ],
)
async def test_a_cancellation_of_what_is_pending_may_be_in_vain(
    rule: CancelRule, investor_id: str, answered: int, told: str | None, ended: str
) -> None:
    """
    By rule or by investor: refused, or answered this way or that while the withdrawal goes on.
    """
    async with talking(replace(PLAIN, terms=under(cancel_rule=rule))) as talk:
        made = (await talk.create(investor_id)).json()["id"]
        response = await talk.cancel(made, investor_id)
        after = await status(talk, made, investor_id)
        await talk.advance(LONG)
        end = await status(talk, made, investor_id)
        record = await talk.record()

    assert (answered, told) == (response.status_code, response.json().get("status"))
    assert ("cancelled" if ended == "cancelled" else "pending") == after
    assert ended == end
    assert (ended == "cancelled") == ("cancel" in kinds(record))


@pytest.mark.parametrize(("rule", "answered"), [(CancelRule.PENDING, 409), (CancelRule.OPEN, 200)])
async def test_what_is_processing_may_still_be_cancelled(rule: CancelRule, answered: int) -> None:
    """
    One page says so; then it holds until the end and no longer.
    """
    pace = timedelta(seconds=100)
    async with talking(replace(PLAIN, terms=under(cancel_rule=rule, pace=pace))) as talk:
        made = (await talk.create()).json()["id"]
        ended = (await talk.create(key="wd-2")).json()["id"]
        await talk.advance(150)
        before = await status(talk, made)
        response = await talk.cancel(made)
        await talk.advance(LONG)
        late = await talk.cancel(ended)

    assert ("processing", answered) == (before, response.status_code)
    assert (409, "BLUM-409-003", None) == error(late)


@pytest.mark.parametrize(
    ("investor_id", "answered", "told"),
    [
        ("inv_stubborn_1", 409, None),
        ("inv_unheeded_1", 200, "pending"),
        ("inv_untrue_1", 200, "cancelled"),
    ],
)
async def test_the_cancellation_of_an_order_may_be_in_vain_too(
    investor_id: str, answered: int, told: str | None
) -> None:
    """
    The same investors: whatever is answered, the order is filled.
    """
    terms = under(fill_delay=timedelta(seconds=100))
    async with talking(replace(PLAIN, terms=terms)) as talk:
        made = (await talk.place(investor_id)).json()["id"]
        response = await talk.cancel_order(made, investor_id)
        await talk.advance(100)
        order = await talk.order(made, investor_id)

    assert (answered, told) == (response.status_code, response.json().get("status"))
    assert "filled" == order["status"]


async def test_cash_can_be_added_to_a_wallet() -> None:
    """
    A refused withdrawal is possible afterwards, and the record knows where the money came from.
    """
    async with talking() as talk:
        refused = await talk.create("inv_poor_1")
        added = await talk.control("POST", "wallets", investor_id="inv_poor_1", amount="500.00")
        wallet = await talk.wallet("inv_poor_1")
        created = await talk.create("inv_poor_1")
        record = await talk.record()

    assert [422, 200, 201] == [r.status_code for r in (refused, added, created)]
    assert wallet == added.json()
    assert "501.00" == wallet["cash_withdrawable"]
    assert {"effect": "deposit", "id": wallet["id"], "amount": "500.00"}.items() <= record[
        "effects"
    ][0].items()


@pytest.mark.parametrize(
    ("name", "fields", "named"),
    [
        ("wallets", {"investor_id": "inv_1"}, "amount"),
        ("wallets", {"investor_id": "inv_1", "amount": "-1"}, "amount"),
        ("wallets", {"investor_id": "inv_1", "amount": 5}, "amount"),
        ("wallets", {"investor_id": "inv_1", "amount": "5", "currency": "CHF"}, "currency"),
        ("wallets", {"investor_id": "inv_unknown", "amount": "5"}, "investor_id"),
        ("wallets", {"investor_id": "nobody", "amount": "5"}, "investor_id"),
        ("reversals", {"withdrawal_id": "wd_nothing"}, "withdrawal_id"),
        ("reversals", {"withdrawal_id": "wd_1", "status": "pending"}, "status"),
    ],
)
async def test_a_senseless_control_call_names_the_field(
    name: str, fields: dict[str, object], named: str
) -> None:
    """
    400, and nothing happens.
    """
    async with talking() as talk:
        response = await talk.control("POST", name, **fields)
        record = await talk.record()

    assert (400, True) == (response.status_code, named in response.json()["error"]["message"])
    assert [] == record["effects"]


async def test_a_late_call_takes_effect_after_its_client_gave_up() -> None:
    """
    No answer, nothing in the list; a while later the withdrawal and the order are there, once.
    """
    options = replace(PLAIN, lateness=timedelta(seconds=100), faults=Faults(late=1.0))
    async with talking(options) as talk:
        for call in (talk.create, talk.place):
            with pytest.raises(httpx.RemoteProtocolError):
                await call()
        talk.server.set_faults(Faults())
        before = await talk.record()
        await talk.advance(100)
        listed = [
            len((await talk.get(f"/investors/inv_01/{kind}")).json()["data"])
            for kind in ("withdrawals", "orders")
        ]
        repeated = [(await talk.create()).status_code, (await talk.place()).status_code]
        after = await talk.record()

    assert [] == before["effects"]
    assert {"late": 2} == before["counters"]["faults"]
    assert ([1, 1], [201, 201]) == (listed, repeated)
    assert ["withdrawal", "order", "fill"] == kinds(after)


async def test_lists_and_reads_may_lag_behind() -> None:
    """
    What was created is not found, and what was cancelled shows as it was, for so long.
    """
    async with talking(
        replace(PLAIN, terms=under(list_lag=timedelta(seconds=100), pace=timedelta(days=1)))
    ) as talk:
        made = (await talk.create()).json()["id"]
        order = (await talk.place()).json()["id"]
        unseen = [
            (await talk.get(f"/investors/inv_01/{path}")).status_code
            for path in (f"withdrawals/{made}", f"orders/{order}")
        ]
        empty = (await talk.get("/investors/inv_01/withdrawals")).json()["data"]
        await talk.advance(100)
        await talk.cancel(made)
        lagging = [await status(talk, made), (await talk.order(order))["status"]]
        await talk.advance(100)
        told = await status(talk, made)

    assert ([404, 404], []) == (unseen, empty)
    assert "pending" == lagging[0]
    assert "filled" == lagging[1]
    assert "cancelled" == told


@pytest.mark.parametrize(
    ("reach", "struck"),
    [
        (Reach.WITHDRAWALS, [500, 201, 409]),
        (Reach.ORDERS, [201, 500, 409]),
        (Reach.CANCELS, [201, 201, 500]),
    ],
)
async def test_faults_can_be_for_one_kind_of_call(reach: Reach, struck: list[int]) -> None:
    """
    Withdrawals, orders or cancellations alone are struck.
    """
    async with talking() as talk:
        order = (await talk.place()).json()["id"]
        await talk.order(order)
        talk.server.set_faults(Faults(error_before=1.0, calls=reach))
        responses = [
            await talk.create(),
            await talk.place(key="sell-2"),
            await talk.cancel_order(order),
        ]

    assert struck == [min(r.status_code, 500) for r in responses]
