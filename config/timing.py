"""How often the worker looks and asks again, and how long it waits, whichever the provider.

How long one call may take stands with its provider, or with what is called."""

from datetime import timedelta

from pydantic import Field

from config.durations import Duration
from config.group import Group


class Polling(Group):
    """How often a withdrawal in flight is looked at."""

    first_delay: Duration = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="Time from the submission to the first look. Few withdrawals move sooner.",
    )
    growth: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Factor from one pause to the next. 2 keeps the looks few over days.",
    )
    cap: Duration = Field(
        default=timedelta(minutes=30),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="The longest pause around the time at which withdrawals of a method usually "
        "end. Before it, and while webhooks come in, pauses grow to eight times as much.",
    )
    jitter: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share by which a pause varies at random, so that looks do not bunch.",
    )
    concurrency: int = Field(
        default=20,
        ge=1,
        le=250,
        description="Looks at once. As many as the requests in work by default.",
    )
    reversal_window: int = Field(
        default=5,
        ge=0,
        le=90,
        description="Business days for which an ended withdrawal is looked at once a day, since a "
        "bank may take it back. Webhooks are heard at any time.",
    )


class Retry(Group):
    """How an unknown outcome is asked for again."""

    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Attempts while the message is held. Few: later ones come from the ledger.",
    )
    first_delay: Duration = Field(
        default=timedelta(seconds=0.5),
        gt=timedelta(0),
        le=timedelta(minutes=5),
        description="Pause before the second attempt. Most broken connections heal at once.",
    )
    growth: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Factor from one pause to the next, in the ledger's retries too.",
    )
    cap: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(hours=1),
        description="The longest pause. Short against the idempotency window, so that an outage "
        "ends well inside it.",
    )
    settling: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(hours=1),
        description="How long a provider's list may lag behind its own effects. A withdrawal that "
        "is looked up counts as absent only when it was missing three times, so far apart. Less "
        "than two minutes is for trials only: a call may still be on its way.",
    )


class Cancellations(Group):
    """What happens to cancel messages."""

    grace: Duration = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        le=timedelta(days=7),
        description="How long a cancellation waits at the least for a request that is not known. "
        "After it, and only once no request lies in the queue, the answer is that there is none.",
    )


class Reconciliation(Group):
    """How often the provider's lists are compared with the ledger, in the background."""

    every: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(0),
        le=timedelta(days=30),
        description="From the beginning of one round through all parties to that of the next; 0 "
        "turns it off. Slow: what it reads, looks do without.",
    )
    period: Duration = Field(
        default=timedelta(days=7),
        gt=timedelta(0),
        le=timedelta(days=90),
        description="How far a round looks back. Longer than most withdrawals take.",
    )
