"""The audit: silent about every run that is in order, and never silent about one that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.demo.evidence import (
    PAID_WAY,
    event,
    events,
    found,
    invalid,
    key_of,
    nameless,
    paid,
    refused,
    reused,
    together,
)
from worker.core.withdrawal import TERMINAL, Status
from worker.demo.audit import (
    BROKEN,
    ENDS,
    HELD,
    Breach,
    Buried,
    Effect,
    Executed,
    Finding,
    Ordered,
    Promise,
    Seen,
    Sent,
)


def breaches(seen: Seen) -> list[Breach]:
    """What is found, without the details."""
    return [finding.breach for finding in found(seen)]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(Seen(), id="nothing"),
        pytest.param(paid(), id="paid"),
        pytest.param(refused(), id="refused"),
        pytest.param(invalid(), id="invalid"),
        pytest.param(nameless(), id="without id"),
        pytest.param(reused(), id="id used again"),
        pytest.param(together(paid(), refused(), invalid(), nameless(), reused()), id="all"),
        pytest.param(together(paid(), Seen(sent=paid().sent)), id="sent twice"),
        pytest.param(together(paid(), Seen(heard=paid().heard)), id="all events twice"),
        pytest.param(together(paid(), Seen(heard=paid().heard[:1])), id="an old event again"),
        pytest.param(together(invalid(), Seen(buried=invalid().buried)), id="buried twice"),
        pytest.param(together(nameless(), nameless()), id="two without id"),
        pytest.param(
            replace(paid(), heard=events("a", "received", "completed")), id="steps left out"
        ),
        pytest.param(
            replace(paid(), heard=events("a", "received", "unresolved", "completed")),
            id="unresolved, then resolved",
        ),
        pytest.param(
            replace(paid(), heard=events("a", *PAID_WAY, "cancel_refused")),
            id="a cancellation that came too late",
        ),
        pytest.param(
            replace(paid(), heard=(event("a", 0, "cancel_refused"), *paid().heard)),
            id="a cancellation that was given up before its request came",
        ),
        pytest.param(Seen(heard=(event("", 0, "cancel_refused"),)), id="a cancellation of nothing"),
        pytest.param(
            replace(
                paid(),
                executed=(),
                heard=(event("a", 1, "received"), event("a", 2, "cancelled", withdrawal_id=None)),
            ),
            id="a cancellation that was in time",
        ),
        pytest.param(
            replace(
                paid(), heard=(*events("a", *PAID_WAY), event("a", 5, "cancelled", reversal=True))
            ),
            id="taken back by the bank",
        ),
    ],
)
def test_a_run_in_order_has_no_findings(seen: Seen) -> None:
    """
    What the contract allows is not held against anybody.
    """
    assert [] == found(seen)


def test_a_doubled_withdrawal_is_found() -> None:
    """
    Two executions under one key break P1, and both are named.
    """
    seen = together(paid(), Seen(executed=(Executed(key_of("a"), "wd-second"),)))

    assert [Finding(Breach.DOUBLED, "a", "wd-a, wd-second")] == found(seen)


def test_a_withdrawal_under_another_key_is_found() -> None:
    """
    A second payout under a key that no request has breaks P1.
    """
    seen = together(paid(), Seen(executed=(Executed("key-of-nobody", "wd-x"),)))

    assert [Finding(Breach.UNASKED, "key key-of-nobody", "wd-x")] == found(seen)


def test_a_withdrawal_without_a_key_is_found() -> None:
    """
    What was executed without any key was not asked for by anybody.
    """
    assert [Breach.UNASKED] == breaches(together(paid(), Seen(executed=(Executed(None, "wd-x"),))))


def test_a_payout_that_never_happened_is_found() -> None:
    """
    Events of a withdrawal that the provider never executed break P1: not once is not exactly once.
    """
    assert [Finding(Breach.UNPAID, "a")] == found(replace(paid(), executed=()))


@pytest.mark.parametrize("end", ["rejected", None])
def test_a_payout_that_nobody_tells_of_is_found(end: str | None) -> None:
    """
    Whoever is told "rejected", or nothing at all, must not have been paid.
    """
    heard = events("a", "received", *([end] if end else []))

    assert Breach.UNTOLD in breaches(replace(paid(), heard=heard))


def test_a_dead_letter_that_was_paid_is_found() -> None:
    """
    A message among the dead letters must not have been paid out.
    """
    assert [Breach.UNTOLD] == breaches(
        together(invalid(), Seen(executed=(Executed(key_of("c"), "wd-c"),)))
    )


def test_events_that_name_another_withdrawal_are_found() -> None:
    """
    A request that took over somebody else's withdrawal is found by the id in its events.
    """
    heard = tuple(replace(each, withdrawal_id="wd-of-another") for each in paid().heard)

    assert [Finding(Breach.MISNAMED, "a", "wd-of-another instead of wd-a")] == found(
        replace(paid(), heard=heard)
    )


def test_an_order_that_was_placed_twice_is_found() -> None:
    """
    Shares that were sold twice break P1 like money that was paid twice.
    """
    told = (replace(paid().heard[0], orders=(Ordered("sell-a", "3"),)), *paid().heard[1:])
    order = Effect("order", "sell-a", "ord-1")
    once = replace(paid(), heard=told, effects=(order, Effect("fill", "sell-a", "ord-1")))
    twice = replace(once, effects=(order, replace(order, subject_id="ord-2")))

    assert [] == found(once)
    assert [Finding(Breach.SOLD_TWICE, "key sell-a", "ord-1, ord-2")] == found(twice)


def test_an_order_of_which_nobody_tells_is_found() -> None:
    """
    What was sold stays visible in the events, whatever becomes of the request.
    """
    seen = replace(refused(), effects=(Effect("order", "sell-b", "ord-1"),))

    assert [Finding(Breach.SOLD_UNTOLD, "key sell-b", "ord-1")] == found(seen)


def test_a_lost_request_is_found() -> None:
    """
    A message that was sent and of which nothing was heard breaks P2.
    """
    seen = together(paid(), Seen(sent=(Sent("lost", "body"),)))

    assert [Finding(Breach.LOST, "lost", "stands at: no event")] == found(seen)


@pytest.mark.parametrize("last", ["received", "pending", "processing", "unresolved"])
def test_a_request_without_an_end_is_found(last: str) -> None:
    """
    Events alone do not count: one of them has to be an end, and `unresolved` is none.
    """
    seen = replace(paid(), heard=events("a", "received", "pending", last))

    assert Finding(Breach.LOST, "a", f"stands at: {last}") in found(seen)


def test_a_lost_message_without_id_is_found() -> None:
    """
    Of two equal messages without id, both have to lie among the dead letters.
    """
    seen = together(nameless(), Seen(sent=nameless().sent))

    assert [Breach.LOST] == breaches(seen)


def test_a_content_that_vanished_behind_its_id_is_found() -> None:
    """
    A second content under a used id has no event of its own, so it has to be a dead letter.
    """
    assert [Breach.LOST] == breaches(replace(reused(), buried=()))


def test_two_ends_are_found() -> None:
    """
    A request that is told twice how it ended breaks P2.
    """
    seen = replace(paid(), heard=events("a", *PAID_WAY, "failed"))

    assert [Finding(Breach.ENDED_TWICE, "a", "completed, failed")] == found(seen)


def test_the_same_end_under_two_ids_is_found() -> None:
    """
    An end that is told again under a new event id is a second end.
    """
    seen = replace(paid(), heard=events("a", *PAID_WAY, "completed"))

    assert [Finding(Breach.ENDED_TWICE, "a", "completed, completed")] == found(seen)


def test_a_request_that_goes_on_after_its_end_is_found() -> None:
    """
    After an end nothing follows but what the bank takes back.
    """
    seen = replace(paid(), heard=events("a", *PAID_WAY, "processing"))

    assert [Finding(Breach.RESUMED, "a", "processing")] == found(seen)


def test_what_went_through_and_is_a_dead_letter_is_found() -> None:
    """
    A request has an end or lies among the dead letters; both is only right for an invalid one.
    """
    seen = together(paid(), Seen(buried=(Buried("a", "body", "poison"),)))

    assert [Finding(Breach.ENDED_AND_BURIED, "a", "completed")] == found(seen)


def test_an_event_of_nobody_is_found() -> None:
    """
    An event of a message that nobody sent is found.
    """
    seen = Seen(heard=events("x", "received"))

    assert [Breach.STRANGE] == breaches(seen)


@pytest.mark.parametrize(
    "letter", [Buried("x", "body", "invalid"), Buried("c", "changed", "invalid")]
)
def test_a_dead_letter_of_nobody_is_found(letter: Buried) -> None:
    """
    A dead letter that nobody sent, or not with this content, is found.
    """
    assert [Breach.STRANGE] == breaches(together(invalid(), Seen(buried=(letter,))))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_gap_is_found(missing: int) -> None:
    """
    A number that is missing in the sequence breaks P3, the first one too.
    """
    heard = tuple(each for place, each in enumerate(paid().heard) if place != missing)

    assert [Breach.GAP] == breaches(replace(paid(), heard=heard))


def test_a_sequence_that_begins_before_one_is_found() -> None:
    """
    Sequences begin with 1.
    """
    heard = (event("a", 0, "received"), event("a", 1, "completed"))

    assert [Breach.GAP] == breaches(replace(paid(), heard=heard))


def test_a_swap_is_found() -> None:
    """
    Two events that came in the wrong order break P3.
    """
    first, second, *others = paid().heard

    assert [Finding(Breach.SWAPPED, "a", "2, 1, 3, 4")] == found(
        replace(paid(), heard=(second, first, *others))
    )


def test_a_changed_event_id_is_found() -> None:
    """
    An event that is repeated under another id would be counted twice by every consumer.
    """
    again = replace(paid().heard[1], event_id="another")

    assert [Finding(Breach.RENAMED, "a", "2")] == found(together(paid(), Seen(heard=(again,))))


def test_a_changed_content_is_found() -> None:
    """
    An event that is repeated with another content would be told or not by chance.
    """
    again = replace(paid().heard[1], content="something else")

    assert [Finding(Breach.ALTERED, "a/2", "a/2")] == found(together(paid(), Seen(heard=(again,))))


def test_one_event_id_for_two_requests_is_found() -> None:
    """
    An id that is given twice makes consumers drop the second event.
    """
    other = paid("b")
    heard = (replace(other.heard[0], event_id="a/1"), *other.heard[1:])

    assert Finding(Breach.ALTERED, "a/1", "a/1, b/1") in found(
        together(paid(), replace(other, heard=heard))
    )


def test_one_request_in_trouble_does_not_hide_another() -> None:
    """
    Every breach of every request is found.
    """
    seen = together(
        replace(paid("a"), executed=()),
        Seen(sent=(Sent("b", "body"),)),
        replace(paid("c"), heard=paid("c").heard[::-1]),
    )

    assert {(Breach.UNPAID, "a"), (Breach.LOST, "b"), (Breach.SWAPPED, "c")} <= {
        (finding.breach, finding.subject) for finding in found(seen)
    }


def test_every_breach_breaks_one_promise() -> None:
    """
    The table of breaches is whole, and no promise is left without a way to break it.
    """
    assert set(Breach) == set(BROKEN)
    assert set(Promise) == set(BROKEN.values())
    assert Promise.NEVER_TWICE is Finding(Breach.DOUBLED, "a").promise


def test_a_finding_reads_as_a_sentence() -> None:
    """
    A finding says who, what, and with which detail.
    """
    assert "a executed more than once (wd-1, wd-2)" == str(
        Finding(Breach.DOUBLED, "a", "wd-1, wd-2")
    )


def test_the_audit_and_the_worker_mean_the_same_by_an_end() -> None:
    """
    The audit's own list of ends is the worker's, and its other words exist.
    """
    assert {status.value for status in TERMINAL} == ENDS
    assert {status.value for status in Status} >= HELD
