"""What counts as alive, as started and as ready, with a clock that the test turns."""

from __future__ import annotations

import pytest

from worker.http.health import LAG_SECONDS, STUCK_SECONDS, Check, Health


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """The clock of the process."""
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    """The health of a process that has just begun."""
    return Health(clock=clock)


def failing(checks: list[Check]) -> list[str]:
    """The names of the checks that do not hold."""
    return [check.name for check in checks if not check.holds]


def test_a_process_that_has_just_begun_lives_and_is_not_ready(health: Health) -> None:
    """
    Nothing has reported yet, nothing has even registered: that is no reason to send it work.
    """
    assert [] == failing(health.live())
    assert ["startup"] == failing(health.startup())
    assert ["startup"] == failing(health.ready())


def test_a_start_is_over_once(health: Health, clock: Clock) -> None:
    """
    From then on for good, and its age tells since when.
    """
    clock.seconds += 3
    health.started()
    clock.seconds += 4
    health.started()

    assert [Check("startup", holds=True, detail="done", age_seconds=4.0)] == health.startup()
    assert [] == failing(health.ready())


def test_what_has_not_reported_is_not_ready(health: Health) -> None:
    """
    Unknown is not good enough; each check is by its own name.
    """
    health.started()
    ledger = health.reporter("ledger")
    health.reporter("publisher")
    ledger(True, "answering")

    assert ["publisher"] == failing(health.ready())
    assert ["not yet known"] == [c.detail for c in health.ready() if c.name == "publisher"]


def test_readiness_follows_what_is_reported(health: Health, clock: Clock) -> None:
    """
    Down and up again; the age is that of the present state, not of the last report.
    """
    health.started()
    report = health.reporter("ledger")
    seen = []
    for holds, detail in [
        (True, "answering"),
        (True, "answering"),
        (False, "away"),
        (True, "back"),
    ]:
        report(holds, detail)
        clock.seconds += 5
        seen.append(health.ready()[-1])

    assert [
        Check("ledger", holds=True, detail="answering", age_seconds=5.0),
        Check("ledger", holds=True, detail="answering", age_seconds=10.0),
        Check("ledger", holds=False, detail="away", age_seconds=5.0),
        Check("ledger", holds=True, detail="back", age_seconds=5.0),
    ] == seen


def test_what_is_not_ready_still_lives(health: Health) -> None:
    """
    No restart brings a broker or a ledger back.
    """
    health.reporter("ledger")(False, "away")

    assert [] == failing(health.live())


def test_a_loop_that_is_silent_for_long_is_stuck(health: Health, clock: Clock) -> None:
    """
    It fails liveness after its time and not before; a beat revives it.
    """
    beat = health.pulse("follow")
    health.pulse("announce")
    clock.seconds += STUCK_SECONDS - 0.1
    assert [] == failing(health.live())

    beat()
    clock.seconds += 0.1
    assert ["announce"] == failing(health.live())

    clock.seconds += STUCK_SECONDS
    assert ["follow", "announce"] == failing(health.live())

    beat()
    assert ["announce"] == failing(health.live())


def test_a_loop_that_ended_in_order_is_not_stuck(health: Health, clock: Clock) -> None:
    """
    Nobody expects a beat of it any more; ending twice does no harm.
    """
    health.pulse("follow")
    health.end_pulse("follow")
    health.end_pulse("follow")
    clock.seconds += 2 * STUCK_SECONDS

    assert [] == failing(health.live())


def test_a_late_event_loop_does_not_live(health: Health, clock: Clock) -> None:
    """
    A loop that cannot keep heartbeats is as good as dead, until it is in time again.
    """
    health.lagged(LAG_SECONDS)
    clock.seconds += 2
    late = health.live()
    health.lagged(0.001)

    assert [Check("event loop", holds=False, detail="10.000 s late", age_seconds=2.0)] == late
    assert [] == failing(health.live())


def test_work_that_takes_too_long_is_stuck(health: Health) -> None:
    """
    A step that outlives its limit fails liveness, by name; one below it does not.
    """
    health.watch("slow", lambda: 11.0, limit=10.0)
    health.watch("brisk", lambda: 9.0, limit=10.0)

    assert ["slow"] == failing(health.live())
    assert [11.0] == [check.age_seconds for check in health.live() if check.name == "slow"]
