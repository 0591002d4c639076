"""Faults as data: shares, reach, and a choice that repeats itself."""

from __future__ import annotations

from collections import Counter

import pytest

from worker.simulator.faults import (
    SHARES,
    CallKind,
    Fault,
    Faults,
    Reach,
    fault_of_call,
    faults_document,
    has_unknown_status,
    read_faults,
)


def test_faults_strike_by_their_shares() -> None:
    """
    Over many calls each fault strikes about as often as it says, and the rest is spared.
    """
    faults = Faults(drop_after=0.1, error_before=0.2, hang_after=0.3)

    struck = Counter(
        fault_of_call(faults, CallKind.CREATE, seed="s", name=str(n)) for n in range(10_000)
    )

    assert {None, Fault.DROP_AFTER, Fault.ERROR_BEFORE, Fault.HANG_AFTER} == set(struck)
    assert abs(struck[Fault.DROP_AFTER] - 1000) < 150
    assert abs(struck[Fault.ERROR_BEFORE] - 2000) < 200
    assert abs(struck[Fault.HANG_AFTER] - 3000) < 250


def test_the_choice_follows_from_seed_and_name() -> None:
    """
    The same call under the same seed meets the same fault; another seed chooses otherwise.
    """
    faults = Faults(drop_before=0.5)

    def choose(seed: str) -> list[Fault | None]:
        return [fault_of_call(faults, CallKind.CREATE, seed=seed, name=str(n)) for n in range(100)]

    assert choose("a") == choose("a")
    assert choose("a") != choose("b")


@pytest.mark.parametrize("reach", list(Reach))
@pytest.mark.parametrize("kind", list(CallKind))
def test_every_kind_of_call_is_reached_or_spared(reach: Reach, kind: CallKind) -> None:
    """
    Creates, reads and all calls: each reach strikes its own kinds and no other.
    """
    reached = {
        Reach.CREATES: {CallKind.CREATE, CallKind.PLACE},
        Reach.WITHDRAWALS: {CallKind.CREATE},
        Reach.ORDERS: {CallKind.PLACE},
        Reach.CANCELS: {CallKind.CANCEL},
        Reach.READS: {CallKind.READ},
        Reach.ALL: set(CallKind),
    }

    fault = fault_of_call(Faults(drop_before=1.0, calls=reach), kind, seed="s", name="n")

    assert (Fault.DROP_BEFORE if kind in reached[reach] else None) == fault


def test_an_unknown_status_has_its_own_chance() -> None:
    """
    Its share holds beside a call's fault, not instead of it.
    """
    faults = Faults(drop_before=1.0, unknown_status=0.5)

    struck = sum(has_unknown_status(faults, seed="s", name=str(n)) for n in range(1000))

    assert 400 < struck < 600


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_nothing_and_all(name: str, share: float) -> None:
    """
    Every share out of range is refused by name.
    """
    with pytest.raises(ValueError, match=f"^{name}: "):
        read_faults({name: share})


def test_the_faults_of_a_call_cannot_exceed_all_calls() -> None:
    """
    Shares that exclude one another add up to 1 at most; to exactly 1 they may.
    """
    read_faults(dict.fromkeys(list(Fault)[:5], 0.2))

    with pytest.raises(ValueError, match="add up to more than 1"):
        Faults(drop_before=0.7, drop_after=0.7)


def test_what_is_written_can_be_read() -> None:
    """
    The JSON form loses nothing, and an empty one is no faults.
    """
    faults = Faults(drop_after=0.25, unknown_status=1, calls=Reach.ALL, outage=True)

    assert faults == read_faults(faults_document(faults))
    assert Faults() == read_faults({})
