"""Every metric of the contract: its name, its labels, and what it counts."""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from worker.core.budget import Rank
from worker.core.change import Cause, Change
from worker.core.messages import DeadReason
from worker.core.reconciliation import Completed, Kind
from worker.core.withdrawal import Order, Status, Withdrawal
from worker.flows.hearing import Outcome
from worker.flows.ports import BooksDifference, OpenCount
from worker.metrics import PAUSES, UNKNOWN, Metrics

NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)

#: Contract section 9; then our own.
METRICS = {
    "requests": ("counter", {"provider", "result"}),
    "transitions": ("counter", {"provider", "status"}),
    "amount": ("counter", {"provider", "currency", "status"}),
    "submission_seconds": ("histogram", {"provider"}),
    "in_flight": ("gauge", {"provider", "status"}),
    "oldest_in_flight_seconds": ("gauge", {"provider", "status"}),
    "provider_request_duration_seconds": ("histogram", {"provider", "operation", "outcome"}),
    "provider_retries": ("counter", {"provider", "reason"}),
    "rate_limit_wait_seconds": ("histogram", {"operation"}),
    "rate_limit_grants": ("counter", {"provider", "class"}),
    "rate_limit_per_second": ("gauge", {"provider"}),
    "events_published": ("counter", {"type"}),
    "events_unpublished": ("gauge", set()),
    "webhooks": ("counter", {"provider", "result"}),
    "dead_letters": ("counter", {"reason"}),
    "cancellations": ("counter", {"result"}),
    "unresolved": ("gauge", set()),
    "ledger_commit_duration_seconds": ("histogram", set()),
    "consumer_up": ("gauge", set()),
    "queue_messages": ("gauge", {"queue"}),
    "build_info": ("gauge", {"version", "python"}),
    "provider_unknown_status": ("counter", {"provider"}),
    "event_loop_lag_seconds": ("gauge", set()),
    "provider_up": ("gauge", {"provider"}),
    "intake_paused": ("gauge", {"reason"}),
    "books_difference": ("gauge", {"provider", "currency"}),
    "books_difference_amount": ("gauge", {"provider", "currency"}),
    "reconciliation_differences": ("gauge", {"provider", "kind"}),
    "reconciliation_completed_timestamp_seconds": ("gauge", set()),
}


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a process in which nothing has happened yet."""
    return Metrics(version="1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """What a sample shows; None where there is none."""
    return metrics.registry.get_sample_value(f"withdrawals_{name}", labels)


def moved(status: Status, **order: Any) -> tuple[Withdrawal, Change]:  # noqa: ANN401 - any field
    """A withdrawal that has just moved, with the change."""
    plain: dict[str, Any] = {
        "message_id": "req-1",
        "idempotency_key": "wd-1",
        "provider": "bluum",
        "party_id": "inv_01",
        "amount": Decimal("250.75"),
        "currency": "USD",
        "method": "ach",
        "taken_at": NOW,
    }
    withdrawal = Withdrawal(order=Order(**(plain | order)), changed_at=NOW)
    return withdrawal, Change(
        sequence=1,
        status=status,
        previous=None,
        reversal=False,
        reason=None,
        provider_status=None,
        cause=Cause.CREATE,
        at=NOW,
    )


def use(metrics: Metrics) -> None:
    """Record everything once."""
    metrics.submitted(moved(Status.PENDING)[0], timedelta(seconds=1))
    metrics.request("bluum", "taken")
    metrics.cancellation("taken")
    metrics.changed(*moved(Status.PENDING))
    metrics.called("bluum", "create", "2xx", 0.1)
    metrics.retried("bluum", "timeout")
    metrics.unknown_status("bluum")
    metrics.waited("create", 0.1)
    metrics.granted("bluum", Rank.SUBMISSION)
    metrics.serves("bluum", rate_limit=25)
    metrics.published("withdrawal.pending")
    metrics.buried(DeadReason.INVALID)
    metrics.webhook(None, Outcome.CUT_OFF)
    metrics.committed(0.1)
    metrics.consuming(is_up=True)
    metrics.queued({"withdrawals.requests": 1})
    metrics.provider_is("bluum", up=True)
    metrics.lagged(0.1)
    metrics.stock([OpenCount("bluum", "pending", 1, NOW)], 1, now=NOW)
    metrics.books([BooksDifference("bluum", "USD", 0, Decimal(0))])
    metrics.reconciled(Completed(NOW, {}), providers=["bluum"])


@pytest.mark.parametrize(("name", "kind", "labels"), [(n, *kl) for n, kl in METRICS.items()])
def test_every_metric_has_its_kind_and_exactly_its_labels(
    metrics: Metrics, name: str, kind: str, labels: set[str]
) -> None:
    """
    Under the contract's prefix, with a text that says what it means.
    """
    use(metrics)
    (family,) = [f for f in metrics.registry.collect() if f.name == f"withdrawals_{name}"]

    assert kind == family.type
    assert family.documentation.endswith(".") or name == "build_info"
    assert {frozenset(labels)} == {frozenset(s.labels) - {"le"} for s in family.samples}


def test_there_is_no_metric_that_nobody_declared(metrics: Metrics) -> None:
    """
    What begins with our prefix stands in the table above.
    """
    names = {family.name for family in metrics.registry.collect()}

    assert set(METRICS) == {
        name.removeprefix("withdrawals_") for name in names if name.startswith("withdrawals_")
    }


def test_reconciliation_shows_every_kind_of_each_provider(metrics: Metrics) -> None:
    """
    0 where nothing was found; before the first there is nothing to show, and no time.
    """
    before = value(metrics, "reconciliation_completed_timestamp_seconds")
    metrics.reconciled(Completed(NOW, {("bluum", Kind.MISSING): 2}), providers=["bluum"])
    metrics.reconciled(Completed(NOW, {("bluum", Kind.UNEXPLAINED): 3}), providers=["bluum"])

    name = "reconciliation_differences"
    shown = {kind: value(metrics, name, provider="bluum", kind=kind.value) for kind in Kind}
    assert dict.fromkeys(Kind, 0) | {Kind.UNEXPLAINED: 3} == shown
    assert (0, NOW.timestamp()) == (
        before,
        value(metrics, "reconciliation_completed_timestamp_seconds"),
    )


def test_two_sets_of_metrics_do_not_disturb_each_other(metrics: Metrics) -> None:
    """
    Each has a registry of its own.
    """
    other = Metrics(version="1.2.3")
    metrics.request("bluum", "taken")

    assert 1 == value(metrics, "requests_total", provider="bluum", result="taken")
    assert value(other, "requests_total", provider="bluum", result="taken") is None


def test_nothing_has_happened_yet(metrics: Metrics) -> None:
    """
    Before anything is told, nothing is consumed and nothing lies about.
    """
    python = platform.python_version()

    assert 0 == value(metrics, "consumer_up")
    assert 0 == value(metrics, "unresolved")
    assert 0 == value(metrics, "events_unpublished")
    assert 1 == value(metrics, "build_info", version="1.2.3", python=python)


def test_what_may_happen_at_any_time_is_counted_from_nought(metrics: Metrics) -> None:
    """
    Prometheus does not see the first of what had no series before.
    """
    metrics.serves("bluum", rate_limit=12.5)

    assert 12.5 == value(metrics, "rate_limit_per_second", provider="bluum")
    assert 0 == value(metrics, "requests_total", provider="bluum", result="taken")
    assert 0 == value(metrics, "submission_seconds_count", provider="bluum")
    assert 0 == value(metrics, "provider_unknown_status_total", provider="bluum")
    assert {0} == {
        value(metrics, "rate_limit_grants_total", provider="bluum", **{"class": rank.name.lower()})
        for rank in Rank
    }
    assert {0} == {
        value(metrics, "dead_letters_total", reason=reason.value) for reason in DeadReason
    }


def test_each_move_is_counted_with_its_money(metrics: Metrics) -> None:
    """
    Transitions by status; amounts by currency too, in units of it.
    """
    for amount in ("250.75", "0.25"):
        metrics.changed(*moved(Status.COMPLETED, amount=Decimal(amount)))
    metrics.changed(*moved(Status.COMPLETED, amount=Decimal(7), currency="EUR"))
    metrics.changed(*moved(Status.FAILED))

    labels = {"provider": "bluum", "status": "completed"}
    assert 3 == value(metrics, "transitions_total", **labels)
    assert 251 == value(metrics, "amount_total", currency="USD", **labels)
    assert 7 == value(metrics, "amount_total", currency="EUR", **labels)
    assert 1 == value(metrics, "transitions_total", provider="bluum", status="failed")


def test_the_way_to_the_provider_is_timed(metrics: Metrics) -> None:
    """
    60 s sharp are in time. A move by itself is no submission: what is one is decided in the core.
    """
    withdrawal, change = moved(Status.PENDING)
    for seconds in (60, 61, -1):
        metrics.submitted(withdrawal, timedelta(seconds=seconds))
    metrics.changed(withdrawal, change)

    assert 3 == value(metrics, "submission_seconds_count", provider="bluum")
    assert 121 == value(metrics, "submission_seconds_sum", provider="bluum")
    assert 2 == value(metrics, "submission_seconds_bucket", provider="bluum", le="60.0")


def test_a_request_that_could_not_be_read_is_counted_all_the_same(metrics: Metrics) -> None:
    """
    Without a provider it is `unknown`; without an amount no money is counted.
    """
    metrics.request(None, "rejected")
    metrics.changed(
        *moved(Status.REJECTED, provider=None, party_id=None, amount=None, currency=None)
    )

    assert 1 == value(metrics, "requests_total", provider=UNKNOWN, result="rejected")
    assert 1 == value(metrics, "transitions_total", provider=UNKNOWN, status="rejected")
    assert [] == [
        sample
        for family in metrics.registry.collect()
        if family.name == "withdrawals_amount"
        for sample in family.samples
    ]


@pytest.mark.parametrize("reason", DeadReason)
def test_every_kind_of_dead_letter_is_counted(metrics: Metrics, reason: DeadReason) -> None:
    """
    By its own word.
    """
    metrics.buried(reason)

    assert 1 == value(metrics, "dead_letters_total", reason=reason.value)


def test_durations_are_observed_in_seconds(metrics: Metrics) -> None:
    """
    Each in its histogram, and the buckets reach to where a call gives up.
    """
    metrics.called("bluum", "create", "timeout", 30.0)
    metrics.waited("look", 4.0)
    metrics.committed(0.004)
    call = {"provider": "bluum", "operation": "create", "outcome": "timeout"}

    assert 30 == value(metrics, "provider_request_duration_seconds_sum", **call)
    assert 1 == value(metrics, "provider_request_duration_seconds_bucket", le="30.0", **call)
    assert 0 == value(metrics, "provider_request_duration_seconds_bucket", le="10.0", **call)
    assert 4 == value(metrics, "rate_limit_wait_seconds_sum", operation="look")
    assert 0.004 == value(metrics, "ledger_commit_duration_seconds_sum")


def test_the_consumer_is_up_or_not(metrics: Metrics) -> None:
    """
    1 while messages are consumed, else 0.
    """
    seen = []
    for is_up in (True, False, True):
        metrics.consuming(is_up=is_up)
        seen.append(value(metrics, "consumer_up"))

    assert [1, 0, 1] == seen


def test_a_queue_that_nobody_counts_any_more_shows_no_old_number(metrics: Metrics) -> None:
    """
    An empty one is 0; one of which the broker tells nothing has no series.
    """
    metrics.queued({"withdrawals.requests": 41, "withdrawals.cancellations": 3})
    metrics.queued({"withdrawals.cancellations": 0})

    assert 0 == value(metrics, "queue_messages", queue="withdrawals.cancellations")
    assert value(metrics, "queue_messages", queue="withdrawals.requests") is None


def test_an_outage_shows_until_it_is_over(metrics: Metrics) -> None:
    """
    1 is up, 0 is out; each provider has a series of its own.
    """
    seen = []
    for is_up in (True, False, True):
        metrics.provider_is("bluum", up=is_up)
        seen.append(value(metrics, "provider_up", provider="bluum"))

    assert [1, 0, 1] == seen


def test_a_closed_intake_shows_why(metrics: Metrics) -> None:
    """
    By the first word of who holds it closed; every reason has a series from the start.
    """
    shown = []
    for holders in ((), ("ledger", "outage bluum"), ("outage bluum",), ()):
        metrics.paused_by(holders)
        shown.append({r for r in PAUSES if value(metrics, "intake_paused", reason=r)})

    assert [set(), {"ledger", "outage"}, {"outage"}, set()] == shown
    assert None not in {value(Metrics(version="1"), "intake_paused", reason=r) for r in PAUSES}


def test_the_stock_is_shown_by_status(metrics: Metrics) -> None:
    """
    How many, and how old the oldest is; unresolved ones have a gauge of their own.
    """
    hour = timedelta(hours=1)
    stock = [
        OpenCount("bluum", "pending", 3, NOW - hour),
        OpenCount("bluum", "unresolved", 2, NOW - 2 * hour),
        OpenCount(None, "unresolved", 1, NOW + hour),
    ]
    metrics.stock(stock, 17, now=NOW)

    pending = {"provider": "bluum", "status": "pending"}
    assert 3 == value(metrics, "in_flight", **pending)
    assert 3600 == value(metrics, "oldest_in_flight_seconds", **pending)
    assert 3 == value(metrics, "unresolved")
    assert 17 == value(metrics, "events_unpublished")
    # A clock that went back makes nothing younger than new.
    assert 0 == value(metrics, "oldest_in_flight_seconds", provider=UNKNOWN, status="unresolved")


def test_what_is_no_longer_in_stock_is_no_longer_shown(metrics: Metrics) -> None:
    """
    The last withdrawal in a status leaves no number behind.
    """
    metrics.stock([OpenCount("bluum", "unresolved", 1, NOW)], 1, now=NOW)
    metrics.stock([], 0, now=NOW)

    assert value(metrics, "in_flight", provider="bluum", status="unresolved") is None
    assert 0 == value(metrics, "unresolved")
    assert 0 == value(metrics, "events_unpublished")


def test_the_books_show_by_how_much_they_do_not_balance(metrics: Metrics) -> None:
    """
    By count and by money, also when they do; what is no longer told is no longer shown.
    """
    metrics.books(
        [
            BooksDifference("bluum", "USD", 0, Decimal("0.00")),
            BooksDifference(None, None, -2, Decimal("-7.50")),
        ]
    )
    bluum = {"provider": "bluum", "currency": "USD"}
    unread = {"provider": UNKNOWN, "currency": UNKNOWN}

    assert (0, 0) == (
        value(metrics, "books_difference", **bluum),
        value(metrics, "books_difference_amount", **bluum),
    )
    assert (-2, -7.5) == (
        value(metrics, "books_difference", **unread),
        value(metrics, "books_difference_amount", **unread),
    )
    metrics.books([])

    assert value(metrics, "books_difference", **bluum) is None
    assert value(metrics, "books_difference_amount", **bluum) is None
