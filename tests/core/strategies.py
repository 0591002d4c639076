"""Arbitrary withdrawals, answers and decisions for the properties.

A withdrawal is arbitrary within what any history can leave behind; `assert_coherent` says what that
is, and the properties show that no decision leads out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from tests.core.builders import (
    NOW,
    PATIENCE,
    a_withdrawal,
    an_order,
    create,
    look,
    look_up,
    reported,
)
from worker.core.answers import Conflicted, Denied, Listed, Refused, Throttled, Unclear
from worker.core.change import Cause, Decision, park
from worker.core.limits import LOOKUPS_IN_VAIN_MAX
from worker.core.lookup import Candidates
from worker.core.permit import intend
from worker.core.steps import expire
from worker.core.withdrawal import TERMINAL, Reason, ReasonCode, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.withdrawal import Withdrawal

BEFORE_PROVIDER: Final = (Status.RECEIVED, Status.RAISING_CASH, Status.AWAITING_FUNDS)
UNDER_WAY: Final = (Status.PENDING, Status.PROCESSING, Status.SUBMITTED)
ENDS: Final = tuple(sorted(TERMINAL - {Status.REJECTED}))

moments = st.timedeltas(timedelta(days=-3), timedelta(days=3)).map(lambda by: NOW + by)
_waits = st.none() | st.timedeltas(timedelta(0), timedelta(hours=1))
reasons = st.builds(Reason, st.sampled_from(ReasonCode), st.none() | st.just("BLUM-1"))
_orders = st.builds(lambda limit: an_order(not_after=limit), st.none() | moments)
_counts = st.integers(0, 5)
#: Also so many that a list which cannot be read is given up.
_looks = st.integers(0, 5) | st.integers(LOOKUPS_IN_VAIN_MAX - 2, LOOKUPS_IN_VAIN_MAX + 2)


def _withdrawals(**parts: object) -> st.SearchStrategy[Withdrawal]:
    strategies = {
        "order": _orders,
        "sequence": st.integers(1, 9),
        "attempts": st.integers(1, 9),
        "looks": _looks,
        "due_at": moments,
        "in_doubt": st.just(False),
        "first_attempt_at": moments,
        "changed_at": moments,
        "reason": st.none() | reasons,
    } | parts
    return st.fixed_dictionaries(strategies).map(lambda fields: a_withdrawal(**fields))  # type: ignore[arg-type]


#: No create call can have reached the provider.
clear = _withdrawals(status=st.sampled_from(BEFORE_PROVIDER), first_attempt_at=st.none() | moments)
#: Some create call may have; perhaps the list was asked already.
doubted = _withdrawals(
    status=st.sampled_from(BEFORE_PROVIDER),
    in_doubt=st.just(True),
    held_refusal=st.none() | reasons,
    empty_lookups=_counts,
)
#: The provider holds it, and has said where it stands, or something that nobody understood.
known = _withdrawals(
    status=st.sampled_from([*BEFORE_PROVIDER, *UNDER_WAY]), withdrawal_id=st.just("wd_01")
)
rejected = _withdrawals(status=st.just(Status.REJECTED), due_at=st.none())
ended = _withdrawals(status=st.sampled_from(ENDS), withdrawal_id=st.just("wd_01"), due_at=st.none())
parked = _withdrawals(
    status=st.just(Status.UNRESOLVED),
    in_doubt=st.just(True),
    held_refusal=st.none() | reasons,
    empty_lookups=_counts,
    due_at=st.none(),
)
withdrawals = st.one_of(clear, doubted, known, rejected, ended, parked)

silences = st.one_of(
    st.builds(Unclear, st.just("timeout"), _waits),
    st.builds(Throttled, _waits),
    st.just(Denied()),
)
refusals = st.builds(Refused, reasons)
reports = st.builds(
    lambda status, identity: reported(status, withdrawal_id=identity),
    st.none() | st.sampled_from([*UNDER_WAY, *ENDS]),
    st.sampled_from(["wd_01", "wd_02"]),
)
answers = st.one_of(silences, refusals, reports, st.just(Conflicted()))
list_answers = st.one_of(silences, refusals, st.just(Listed(())))
candidates = st.builds(
    Candidates,
    ours=st.lists(reports, max_size=2).map(tuple),
    lookalikes=st.lists(reports, max_size=2).map(tuple),
)


@dataclass(frozen=True)
class Taken:
    """A decision, and what it was taken about."""

    before: Withdrawal
    decision: Decision


def taken(
    before: st.SearchStrategy[Withdrawal],
    decide: st.SearchStrategy[Callable[[Withdrawal], Decision]],
) -> st.SearchStrategy[Taken]:
    """Decisions of some kind about withdrawals of some kind."""
    return st.builds(lambda b, d: Taken(b, d(b)), before, decide)


on_create = st.builds(lambda answer, now: lambda w: create(w, answer, now=now), answers, moments)
on_look = st.builds(lambda answer, now: lambda w: look(w, answer, now=now), answers, moments)
on_lookup = st.builds(
    lambda found, answer, now: lambda w: look_up(w, found, answer=answer, now=now),
    candidates | st.just(Candidates()),
    list_answers,
    moments,
)
on_our_own = st.builds(
    lambda decide, now: lambda w: decide(w, now),
    st.sampled_from(
        [
            lambda w, now: intend(w, now=now, patience=PATIENCE),
            lambda w, now: expire(w, now=now),
            lambda w, now: park(
                w, Reason(ReasonCode.SEVERAL_CANDIDATES), cause=Cause.LOOKUP, now=now
            ),
        ]
    ),
    moments,
)


def _intended(withdrawal: Withdrawal) -> Withdrawal:
    return intend(withdrawal, now=NOW, patience=PATIENCE).withdrawal


#: Any decision about any withdrawal, whether the flows would ask for it or not.
any_taken = taken(withdrawals, st.one_of(on_create, on_look, on_lookup, on_our_own))
#: The decisions that the flows ask for.
fit_taken = st.one_of(
    # A call is decided upon with the doubt that was there before its own intent.
    taken(clear.map(lambda w: replace(_intended(w), in_doubt=False)), on_create),
    taken(doubted.filter(lambda w: w.held_refusal is None).map(_intended), on_create),
    taken(st.one_of(known, ended), on_look),
    taken(st.one_of(doubted, parked), on_lookup),
    taken(clear, on_our_own),
)


def assert_coherent(withdrawal: Withdrawal) -> None:
    """What holds of every withdrawal at any time."""
    status = withdrawal.status
    assert withdrawal.sequence > 0
    # Whatever is open is taken up again, and nothing else is.
    assert (withdrawal.due_at is None) is withdrawal.is_at_rest
    # What the provider holds has its id; what it never held was rejected.
    if status in UNDER_WAY or status in ENDS:
        assert withdrawal.withdrawal_id is not None
    if status is Status.REJECTED:
        assert withdrawal.withdrawal_id is None
    # An id ends all doubt, and so does an end; a refusal is held only in doubt.
    if withdrawal.withdrawal_id is not None or withdrawal.is_finished:
        assert not withdrawal.in_doubt
    if withdrawal.held_refusal is not None:
        assert withdrawal.in_doubt
    # Doubt has a beginning, from which the provider's memory is counted.
    if withdrawal.in_doubt:
        assert withdrawal.first_attempt_at is not None
        assert withdrawal.attempts > 0
