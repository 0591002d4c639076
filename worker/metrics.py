"""Every metric of the worker, declared once, with its meaning (contract section 9).

Labels come from closed sets, never from ids. Nothing here decides what is counted."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from worker.core.budget import Rank
from worker.core.messages import DeadReason
from worker.core.reconciliation import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime, timedelta

    from prometheus_client import Metric

    from worker.core.change import Change
    from worker.core.reconciliation import Completed
    from worker.core.withdrawal import Withdrawal
    from worker.flows.hearing import Outcome
    from worker.flows.ports import BooksDifference, OpenCount

#: Why the intake may be closed: by whom, as the first word of the holder's name at the gate.
PAUSES: Final = ("start", "ledger", "credentials", "outage", "alarm")
#: The provider label of a request whose provider could not be read.
UNKNOWN: Final = "unknown"

_SECONDS_OF_A_CALL: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SECONDS_OF_A_COMMIT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
#: 60 is what the alerts on late submissions count by.
_SECONDS_OF_A_SUBMISSION: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)
_SECONDS_OF_A_WAIT: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All metrics, in a registry of their own. It is also the flows' `Observer`."""

    def __init__(self, *, version: str) -> None:
        self.registry: Final = _Registry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = self._counter(
            "requests", "Request messages, by what became of them.", "provider", "result"
        )
        self._cancellations = self._counter(
            "cancellations",
            "Cancel messages, by what became of them: taken, early (its request is not known yet),"
            " unknown_request (nor has it come since), duplicate, or why it was not taken.",
            "result",
        )
        self._transitions = self._counter(
            "transitions", "Moves of withdrawals into a status.", "provider", "status"
        )
        self._amount = self._counter(
            "amount",
            "Money of the withdrawals that moved into a status, in units of the currency.",
            "provider",
            "currency",
            "status",
        )
        self._submissions = Histogram(
            "withdrawals_submission_seconds",
            "Time from a request's commit to the provider's first word that it has the withdrawal,"
            " in answer to a create call or found in its list, in whatever word. Not of those that"
            " waited for a sale, for funds or for a person's ruling.",
            ("provider",),
            registry=self.registry,
            buckets=_SECONDS_OF_A_SUBMISSION,
        )
        self._in_flight = self._gauge(
            "in_flight",
            "Unfinished withdrawals in the ledger; alike on every replica.",
            "provider",
            "status",
        )
        self._oldest = self._gauge(
            "oldest_in_flight_seconds",
            "Age of the oldest unfinished withdrawal; alike on every replica.",
            "provider",
            "status",
        )
        self._calls = Histogram(
            "withdrawals_provider_request_duration_seconds",
            "Calls to the provider, by operation and outcome (status class, or kind of silence).",
            ("provider", "operation", "outcome"),
            registry=self.registry,
            buckets=_SECONDS_OF_A_CALL,
        )
        self._retries = self._counter(
            "provider_retries",
            "Create calls that have to be made again, by why.",
            "provider",
            "reason",
        )
        self._unknown_statuses = self._counter(
            "provider_unknown_status",
            "Answers with a status word that the provider does not document.",
            "provider",
        )
        self._waits = Histogram(
            "withdrawals_rate_limit_wait_seconds",
            "Time that a call waited for its turn under the provider's rate limit.",
            ("operation",),
            registry=self.registry,
            buckets=_SECONDS_OF_A_WAIT,
        )
        self._grants = self._counter(
            "rate_limit_grants",
            "Calls that left within the provider's rate limit, by class: urgent (cancellations,"
            " resolving unknowns), submission, look.",
            "provider",
            "class",
        )
        self._rate_limit = self._gauge(
            "rate_limit_per_second",
            "Requests a second that all replicas together may send to the provider, as it is set.",
            "provider",
        )
        self._events = self._counter(
            "events_published", "Events that the broker confirmed, by type.", "type"
        )
        self._unpublished = self._gauge(
            "events_unpublished", "Committed events that the broker has not confirmed yet."
        )
        self._dead_letters = self._counter(
            "dead_letters", "Messages put among the dead letters, by reason.", "reason"
        )
        self._webhooks = self._counter(
            "webhooks",
            "Requests at the webhooks' port, by what became of them.",
            "provider",
            "result",
        )
        self._unresolved = self._gauge(
            "unresolved", "Withdrawals whose outcome a person has to establish."
        )
        self._books = self._gauge(
            "books_difference",
            "Requests taken, less those finished, in flight, unresolved and dead-lettered; 0 when"
            " none is lost or doubled. Alike on every replica.",
            "provider",
            "currency",
        )
        self._books_amount = self._gauge(
            "books_difference_amount",
            "The same by money, in units of the currency.",
            "provider",
            "currency",
        )
        self._reconciliation = self._gauge(
            "reconciliation_differences",
            "What the last completed reconciliation found, by kind; of these only status_drift is"
            " repaired by itself. Alike on every replica.",
            "provider",
            "kind",
        )
        self._reconciled = self._gauge(
            "reconciliation_completed_timestamp_seconds",
            "When the last reconciliation was completed, in unix time; 0 before the first.",
        )
        self._commits = Histogram(
            "withdrawals_ledger_commit_duration_seconds",
            "Duration of one group commit of the ledger.",
            registry=self.registry,
            buckets=_SECONDS_OF_A_COMMIT,
        )
        self._consumer_up = self._gauge(
            "consumer_up", "1 while requests and cancellations are both being consumed, else 0."
        )
        self._queued = self._gauge(
            "queue_messages",
            "Messages that lie in the broker's queue, in nobody's hands, as it tells every 10 s; no"
            " series while it does not. Alike on every replica.",
            "queue",
        )
        self._provider_up = self._gauge(
            "provider_up",
            "1 while the provider answers, 0 while it fails as a whole and nothing is taken in.",
            "provider",
        )
        self._intake_paused = self._gauge(
            "intake_paused",
            "1 while request messages are left in their queue for this reason, else 0.",
            "reason",
        )
        for reason in PAUSES:
            self._intake_paused.labels(reason).set(0)
        self._loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late the event loop was at its last check."
        )
        build = self._gauge(
            "build_info", "1, with the release and the Python it runs on.", "version", "python"
        )
        build.labels(version, platform.python_version()).set(1)
        self._consumer_up.set(0)
        # What counts from 1 hides its first: Prometheus sees growth only in what was there before.
        for dead in DeadReason:
            self._dead_letters.labels(dead.value)

    def serves(self, provider: str, *, rate_limit: float) -> None:
        """Tell that a provider is served, and within how many requests a second."""
        self._rate_limit.labels(provider).set(rate_limit)
        for rank in Rank:
            self._grants.labels(provider, rank.name.lower())
        self._requests.labels(provider, "taken")
        self._submissions.labels(provider)
        self._unknown_statuses.labels(provider)

    def request(self, provider: str | None, result: str) -> None:
        """Count one request message."""
        self._requests.labels(provider or UNKNOWN, result).inc()

    def cancellation(self, result: str) -> None:
        """Count what became of a cancel message."""
        self._cancellations.labels(result).inc()

    def changed(self, withdrawal: Withdrawal, change: Change) -> None:
        """Count one move, and the money that moved with it."""
        order = withdrawal.order
        provider = order.provider or UNKNOWN
        self._transitions.labels(provider, change.status.value).inc()
        if order.amount is not None and order.currency is not None:
            self._amount.labels(provider, order.currency, change.status.value).inc(
                float(order.amount)
            )

    def submitted(self, withdrawal: Withdrawal, after: timedelta) -> None:
        """Record how long the way to the provider took, once (`Decision.submitted_after`).

        Less than nothing, by a clock that was set back, is 0.
        """
        provider = withdrawal.order.provider or UNKNOWN
        self._submissions.labels(provider).observe(max(0.0, after.total_seconds()))

    def called(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        """Record one call to a provider."""
        self._calls.labels(provider, operation, outcome).observe(seconds)

    def retried(self, provider: str, reason: str) -> None:
        """Count a create call that has to be made again."""
        self._retries.labels(provider, reason).inc()

    def unknown_status(self, provider: str) -> None:
        """Count a status word that nobody documented."""
        self._unknown_statuses.labels(provider).inc()

    def waited(self, operation: str, seconds: float) -> None:
        """Record a wait for the rate limit."""
        self._waits.labels(operation).observe(seconds)

    def granted(self, provider: str, rank: Rank) -> None:
        """Count a call that left within the rate limit."""
        self._grants.labels(provider, rank.name.lower()).inc()

    def published(self, kind: str) -> None:
        """Count a confirmed event."""
        self._events.labels(kind).inc()

    def buried(self, reason: DeadReason) -> None:
        """Count a dead letter."""
        self._dead_letters.labels(reason.value).inc()

    def webhook(self, provider: str | None, outcome: Outcome) -> None:
        """Count a request at the webhooks' port."""
        self._webhooks.labels(provider or UNKNOWN, outcome.value).inc()

    def committed(self, seconds: float) -> None:
        """Record one group commit."""
        self._commits.observe(seconds)

    def consuming(self, *, is_up: bool) -> None:
        """Tell whether messages are being consumed."""
        self._consumer_up.set(1 if is_up else 0)

    def queued(self, counts: Mapping[str, int]) -> None:
        """Show how many messages wait in each queue; of a queue that is not named, nothing."""
        self._queued.clear()
        for queue, count in counts.items():
            self._queued.labels(queue).set(count)

    def provider_is(self, provider: str, *, up: bool) -> None:
        """Tell whether a provider answers as a whole."""
        self._provider_up.labels(provider).set(1 if up else 0)

    def paused_by(self, holders: Iterable[str]) -> None:
        """Tell who holds the intake closed; the first word of each is its reason."""
        reasons = {holder.partition(" ")[0] for holder in holders}
        for reason in PAUSES:
            self._intake_paused.labels(reason).set(1 if reason in reasons else 0)

    def lagged(self, seconds: float) -> None:
        """Tell how late the event loop was."""
        self._loop_lag.set(seconds)

    def stock(self, open_counts: Iterable[OpenCount], unpublished: int, *, now: datetime) -> None:
        """Show what lies in the ledger unfinished."""
        self._in_flight.clear()
        self._oldest.clear()
        unresolved = 0
        for entry in open_counts:
            labels = (entry.provider or UNKNOWN, str(entry.status))
            self._in_flight.labels(*labels).set(entry.count)
            self._oldest.labels(*labels).set(max(0.0, (now - entry.oldest).total_seconds()))
            if entry.status == "unresolved":
                unresolved += entry.count
        self._unresolved.set(unresolved)
        self._unpublished.set(unpublished)

    def books(self, differences: Iterable[BooksDifference]) -> None:
        """Show by how much the books do not balance."""
        self._books.clear()
        self._books_amount.clear()
        for entry in differences:
            labels = (entry.provider or UNKNOWN, entry.currency or UNKNOWN)
            self._books.labels(*labels).set(entry.count)
            self._books_amount.labels(*labels).set(float(entry.amount))

    def reconciled(self, completed: Completed, *, providers: Iterable[str]) -> None:
        """Show what the last completed round of reconciliation had found."""
        self._reconciliation.clear()
        for provider in providers:
            for kind in Kind:
                self._reconciliation.labels(provider, kind.value).set(0)
        for (provider, kind), count in completed.found.items():
            self._reconciliation.labels(provider, kind.value).set(count)
        self._reconciled.set(completed.at.timestamp())

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"withdrawals_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"withdrawals_{name}", meaning, labels, registry=self.registry)


class _Registry(CollectorRegistry):
    """A registry without the `_created` series, one for each counter and histogram.

    Nobody asked for them, and they would double the number of series. The library's own switch
    works for the whole process, and this room does not own that.
    """

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric
