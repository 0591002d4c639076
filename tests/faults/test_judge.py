"""The auditor: evidence in which all went well, and the same evidence spoiled in every way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.demo.evidence import (
    PAID_WAY,
    event,
    events,
    invalid,
    key_of,
    nameless,
    paid,
    refused,
    reused,
    together,
)
from tests.faults.judge import BROKEN, Evidence, Fate, Verdict, judge, untold
from tests.faults.messages import Message
from tests.faults.nemesis import Deed
from tests.faults.plan import Fault
from tests.faults.tongues import BLUUM, TONGUES, UPVEST
from worker.demo.audit import Buried, Executed, Ordered, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.tongues import Tongue


def message(message_id: str | None, *ends: str, letter: str | None = None) -> Message:
    """A planned message that may end with these."""
    return Message(
        at=0.0,
        message_id=message_id,
        body=b"{}",
        ends=frozenset(ends),
        what="planned",
        letter=letter,
    )


PLANNED = (
    message("a", "completed"),
    message("b", "rejected"),
    message("c", "rejected", letter="invalid"),
    message("d", "completed", letter="message_id_reused"),
    message(None, letter="missing_message_id"),
)
GOOD = together(paid("a"), refused("b"), invalid("c"), reused("d"), nameless())


def verdict(
    seen: Seen,
    *,
    deeds: tuple[Deed, ...] = (),
    foreseen: tuple[Message, ...] = PLANNED,
    others: tuple[str, ...] = (),
) -> Verdict:
    """What the auditor says of a run in which each request took from second 10 to second 20."""
    ids = {sent.message_id for sent in seen.sent if sent.message_id is not None}
    evidence = Evidence(
        seen=seen,
        foreseen=foreseen,
        sent_at=dict.fromkeys(ids, 10.0),
        ended_at=dict.fromkeys(ids, 20.0),
        deeds=deeds,
        others=others,
    )
    return judge(evidence, key_of=key_of)


def test_a_good_run_breaks_nothing() -> None:
    """
    Paid, refused, buried, two contents under one id: all of it is as it has to be.
    """
    told = verdict(GOOD)

    assert () == told.breaches
    assert dict.fromkeys("abcd", Fate.OK) == dict(told.fates)


@pytest.mark.parametrize(
    ("began", "fate"), [(9.0, Fate.OK), (15.0, Fate.RECOVERED), (21.0, Fate.OK)]
)
def test_a_fault_under_way_is_recovered_from(began: float, fate: Fate) -> None:
    """
    Only who was under way when a fault struck has recovered from it.
    """
    told = verdict(GOOD, deeds=(Deed(Fault.KILL, began, 30.0),))

    assert {fate} == set(told.fates.values())


def test_a_repetition_is_no_fault_to_recover_from() -> None:
    """
    Messages that come again hit nothing that is under way.
    """
    told = verdict(GOOD, deeds=(Deed(Fault.REPLAY, 15.0, 16.0),))

    assert {Fate.OK} == set(told.fates.values())


def _without_end(seen: Seen) -> Seen:
    kept = tuple(e for e in seen.heard if (e.message_id, e.status) != ("a", "completed"))
    return replace(seen, heard=kept)


def _swapped(seen: Seen) -> Seen:
    first, second, *rest = seen.heard
    return replace(seen, heard=(second, first, *rest))


def _also(seen: Seen, **more: tuple[object, ...]) -> Seen:
    return replace(seen, **{name: (*getattr(seen, name), *items) for name, items in more.items()})


SPOILS: dict[str, tuple[Callable[[Seen], Seen], Fate, str]] = {
    "paid twice": (
        lambda seen: _also(seen, executed=(Executed(key_of("a"), "wd-other"),)),
        Fate.DUPLICATED,
        "a",
    ),
    "ended twice": (
        lambda seen: _also(seen, heard=(event("a", 5, "failed"),)),
        Fate.DUPLICATED,
        "a",
    ),
    "no end": (_without_end, Fate.LOST, "a"),
    "no event at all": (
        lambda seen: replace(seen, heard=tuple(e for e in seen.heard if e.message_id != "b")),
        Fate.LOST,
        "b",
    ),
    "paid and told as rejected": (
        lambda seen: _also(seen, executed=(Executed(key_of("b"), "wd-b"),)),
        Fate.LOST,
        "b",
    ),
    "told as paid, and not paid": (
        lambda seen: replace(
            seen, executed=tuple(e for e in seen.executed if e.key != key_of("a"))
        ),
        Fate.UNEXPECTED,
        "a",
    ),
    "another's withdrawal": (
        lambda seen: replace(
            seen,
            executed=tuple(
                replace(e, withdrawal_id="wd-other") if e.key == key_of("a") else e
                for e in seen.executed
            ),
        ),
        Fate.UNEXPECTED,
        "a",
    ),
    "a payment nobody asked for": (
        lambda seen: _also(seen, executed=(Executed("key-of-nobody", "wd-x"),)),
        Fate.UNEXPECTED,
        "key key-of-nobody",
    ),
    "events of nobody": (
        lambda seen: _also(seen, heard=events("z", "received")),
        Fate.UNEXPECTED,
        "z, of which an event tells,",
    ),
    "no dead letter": (
        lambda seen: replace(seen, buried=tuple(b for b in seen.buried if b.message_id != "d")),
        Fate.LOST,
        "d",
    ),
    "a dead letter too many": (
        lambda seen: _also(seen, buried=(Buried("a", "body", "poison"),)),
        Fate.UNEXPECTED,
        "a",
    ),
    "a dead letter for another reason": (
        lambda seen: replace(
            seen,
            buried=tuple(
                replace(b, reason="malformed") if b.message_id == "c" else b for b in seen.buried
            ),
        ),
        Fate.UNEXPECTED,
        "c",
    ),
    "another end than foreseen": (
        lambda seen: replace(
            seen,
            heard=tuple(
                replace(e, status="failed", content="failed")
                if (e.message_id, e.status) == ("a", "completed")
                else e
                for e in seen.heard
            ),
        ),
        Fate.UNEXPECTED,
        "a",
    ),
    "events swapped": (_swapped, Fate.OUT_OF_ORDER, "a"),
    "a gap": (
        lambda seen: replace(
            seen, heard=tuple(e for e in seen.heard if (e.message_id, e.sequence) != ("a", 2))
        ),
        Fate.OUT_OF_ORDER,
        "a",
    ),
    "one event under two ids": (
        lambda seen: _also(seen, heard=(event("a", 2, "pending", event_id="other"),)),
        Fate.OUT_OF_ORDER,
        "a",
    ),
    "left to a person for no reason": (
        lambda seen: _also(_without_end(seen), heard=(event("a", 4, "unresolved"),)),
        Fate.UNEXPECTED,
        "a",
    ),
}


@pytest.mark.parametrize("how", SPOILS)
def test_every_breach_is_found(how: str) -> None:
    """
    Evidence that is spoiled in one way gives the one request concerned its fate.
    """
    spoil, fate, subject = SPOILS[how]

    told = verdict(spoil(GOOD))

    assert () != told.breaches
    assert fate == told.fates[subject]
    assert {subject} == {name for name, found in told.fates.items() if found in BROKEN}


def test_what_is_left_to_a_person_is_counted_apart() -> None:
    """
    Where nobody can know, an open request is no breach, whether it was paid or not.
    """
    foreseen = (replace(message("a", "completed"), may_stay_open=True),)
    unpaid = Seen(sent=paid("a").sent, heard=events("a", "received", "unresolved"))
    was_paid = replace(unpaid, executed=paid("a").executed)

    assert {"a": Fate.UNRESOLVED} == dict(verdict(unpaid, foreseen=foreseen).fates)
    assert {"a": Fate.UNRESOLVED} == dict(verdict(was_paid, foreseen=foreseen).fates)
    assert () == verdict(was_paid, foreseen=foreseen).breaches


def test_an_open_request_must_not_be_paid_twice() -> None:
    """
    What may stay open may not be doubled.
    """
    foreseen = (replace(message("a", "completed"), may_stay_open=True),)
    seen = Seen(
        sent=paid("a").sent,
        executed=(*paid("a").executed, Executed(key_of("a"), "wd-other")),
        heard=events("a", "received", "unresolved"),
    )

    assert {"a": Fate.DUPLICATED} == dict(verdict(seen, foreseen=foreseen).fates)


def test_what_else_went_wrong_is_a_breach() -> None:
    """
    A process that did not end in order, say, is told and counted.
    """
    told = verdict(GOOD, others=("worker 0 ended with 1",))

    assert ("unexpected: worker 0 ended with 1",) == told.breaches
    assert 1 == told.counts[Fate.UNEXPECTED]


ALIKE = (
    replace(message("a", "completed"), may_stay_open=True),
    replace(message("b", "completed"), may_stay_open=True, like="a"),
)


def _alike(*executed: tuple[str, str]) -> Seen:
    """Two requests for the same, of which both were told as paid, and what was executed."""
    both = together(paid("a"), paid("b"))
    return replace(both, executed=tuple(Executed(key_of(name), one) for name, one in executed))


@pytest.mark.parametrize(
    ("executed", "fates"),
    [
        ([("a", "wd-a"), ("b", "wd-b")], {"a": Fate.OK, "b": Fate.OK}),
        ([("a", "wd-b"), ("b", "wd-a")], {"a": Fate.OK, "b": Fate.OK}),
        ([("a", "wd-b"), ("a", "wd-a")], {"a": Fate.OK, "b": Fate.OK}),
        ([("a", "wd-a")], {"a": Fate.OK, "b": Fate.UNEXPECTED}),
        ([("a", "wd-a"), ("a", "wd-b"), ("b", "x")], {"a": Fate.OK, "b": Fate.DUPLICATED}),
    ],
)
def test_of_two_that_nobody_can_tell_apart_each_is_paid_once(
    executed: list[tuple[str, str]], fates: dict[str, Fate]
) -> None:
    """
    By whichever call; a payment too few or too many is found all the same.
    """
    assert fates == dict(verdict(_alike(*executed), foreseen=ALIKE).fates)


CANCELLING = replace(message("mine"), cancels="a")


@pytest.mark.parametrize(
    ("answers", "fates"),
    [
        (("cancelled",), []),
        (("cancel_refused",), []),
        ((), [Fate.LOST]),
        (("cancel_refused", "cancelled"), [Fate.DUPLICATED]),
        (("rejected",), [Fate.UNEXPECTED]),
    ],
)
def test_a_cancellation_has_one_answer(answers: tuple[str, ...], fates: list[Fate]) -> None:
    """
    Either word of the two, once; nothing, both, or another word is a breach.
    """
    evidence = Evidence(
        seen=paid("a"),
        foreseen=(message("a", "completed"), CANCELLING),
        answers={"mine": [event("a", place, word) for place, word in enumerate(answers, start=4)]},
    )

    told = judge(evidence, key_of=key_of)

    assert [*fates] == [fate for name, fate in told.fates.items() if name == "mine"]


def test_who_is_cancelled_was_not_refused_before() -> None:
    """
    That it is not possible must stay true, but for what the provider cancels of its own accord.

    That there is no such request may change.
    """
    heard = events("a", "received", "pending", "cancel_refused", "cancelled")
    seen = replace(paid("a"), heard=heard)

    unknown = replace(seen, heard=(event("a", 0, "cancel_refused"), *events("a", *PAID_WAY)))
    foreseen = (message("a", "completed"), replace(CANCELLING, message_id=None))

    of_itself = (message("a", "cancelled"), foreseen[1])

    assert Fate.UNEXPECTED is verdict(seen, foreseen=foreseen).fates["a"]
    assert Fate.OK is verdict(seen, foreseen=of_itself).fates["a"]
    assert Fate.OK is verdict(unknown, foreseen=foreseen).fates["a"]


def _record(status: str, *, lost: bool = False) -> dict[str, Any]:
    key, outcome = key_of("a"), "lost" if lost else "delivered"
    return {
        "effects": [
            {"effect": "withdrawal", "id": "wd-a", "idempotency_key": key, "status": status},
            {"effect": "order", "client_order_id": "o", "filled_quantity": "2", "status": status},
        ],
        "webhooks": [
            {"event": tongue.reversal, "id": "wd-a", "outcome": outcome}
            for tongue in TONGUES.values()
        ],
    }


@pytest.mark.parametrize(
    ("tongue", "record", "names"),
    [
        (BLUUM, _record("completed"), []),
        (BLUUM, _record("processing"), ["a"]),
        (BLUUM, _record("failed"), ["a"]),
        (BLUUM, _record("failed", lost=True), []),
        (UPVEST, _record("CONFIRMED"), []),
        (UPVEST, _record("CANCELLED"), ["a"]),
        (UPVEST, _record("CANCELLED", lost=True), []),
    ],
)
def test_what_stands_otherwise_than_told_is_found(
    tongue: Tongue, record: dict[str, Any], names: list[str]
) -> None:
    """
    In each provider's words; a reversal whose webhook was lost is only told a day later.
    """
    evidence = Evidence(seen=GOOD, foreseen=PLANNED, record=record, tongue=tongue)

    assert names == [name for name, _ in untold(evidence, key_of=key_of)]


@pytest.mark.parametrize(
    ("status", "filled", "lines"), [("filled", "2", 0), ("filled", "1", 1), ("open", "2", 1)]
)
def test_a_sale_is_told_as_it_is(status: str, filled: str, lines: int) -> None:
    """
    What was sold is what was told, and nothing rests at the market for ever.
    """
    heard = replace(event("a", 1, "received"), orders=(Ordered("o", filled),))
    record = _record(status) | {"effects": _record(status)["effects"][1:]}
    record["effects"][0]["id"] = "ord-1"

    evidence = Evidence(seen=Seen(heard=(heard,)), foreseen=(), record=record)

    assert lines == len(list(untold(evidence, key_of=key_of)))
