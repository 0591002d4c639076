"""The tables of the ledger, and the indexes that keep every recurring query short.

Data only. Times are whole microseconds since 1970 (UTC) in 64 bits: exact, and alike on SQLite and
PostgreSQL. Amounts are whole hundredths of the currency unit, so that sums are exact on both."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()

_ROW: Final = BigInteger().with_variant(Integer, "sqlite")

withdrawals: Final = Table(
    "withdrawals",
    metadata,
    Column("id", _ROW, primary_key=True, autoincrement=True),
    # What was asked for: written once.
    Column("message_id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("provider", Text),
    Column("party_id", Text),
    Column("target_id", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("method", Text),
    Column("body", LargeBinary, nullable=False),
    Column("request", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("correlation_id", Text),
    Column("reply_to", Text),
    Column("traceparent", Text),
    Column("not_after", BigInteger),
    Column("wait_for_funds_until", BigInteger),
    Column("taken_at", BigInteger, nullable=False),
    # Hash of all of this: where the chain of its transitions begins.
    Column("origin", LargeBinary, nullable=False),
    # Where it stands: written with every change, `version` guarding against a second writer.
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("withdrawal_id", Text),
    Column("provider_status", Text),
    Column("reason_code", Text),
    Column("reason_provider_code", Text),
    Column("reason_detail", Text),
    Column("held_refusal_code", Text),
    Column("held_refusal_provider_code", Text),
    Column("held_refusal_detail", Text),
    Column("in_doubt", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_attempt_at", BigInteger),
    Column("empty_lookups", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("due_at", BigInteger),
    # What it is due for, in the order of `worker.core.withdrawal.Errand`.
    Column("errand", Integer, nullable=False),
    # The orders that raise the cash first, as JSON; NULL where there are none.
    Column("sales", Text),
    # The newest hash of its chain, and the hash over it and where it stands.
    Column("head", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    # The replica that works on it at this moment; free for others once that replica is gone.
    Column("owner", Text),
    # Set from outside, whoever works on it: take it up now (a webhook, a cancellation); cleared by
    # who claims it. And that a cancellation waits for it; cleared by the change that answers it.
    Column("woken_at", BigInteger),
    Column("cancel_wanted", Boolean, nullable=False),
)

Index("uq_withdrawals_message_id", withdrawals.c.message_id, unique=True)
#: One withdrawal of the provider belongs to at most one request, ever.
Index(
    "uq_withdrawals_withdrawal_id",
    withdrawals.c.provider,
    withdrawals.c.withdrawal_id,
    unique=True,
    sqlite_where=withdrawals.c.withdrawal_id.is_not(None),
    postgresql_where=withdrawals.c.withdrawal_id.is_not(None),
)
# Partial indexes: a finished row is in neither, so millions of them cost nothing.
Index(
    "ix_withdrawals_due",
    withdrawals.c.errand,
    withdrawals.c.due_at,
    sqlite_where=withdrawals.c.due_at.is_not(None),
    postgresql_where=withdrawals.c.due_at.is_not(None),
)
Index(
    "ix_withdrawals_party",
    withdrawals.c.provider,
    withdrawals.c.party_id,
    withdrawals.c.due_at,
    sqlite_where=withdrawals.c.due_at.is_not(None),
    postgresql_where=withdrawals.c.due_at.is_not(None),
)
#: What reconciliation goes by. Its columns never change, so it costs each request one entry.
Index(
    "ix_withdrawals_party_taken",
    withdrawals.c.provider,
    withdrawals.c.party_id,
    withdrawals.c.taken_at,
)
Index(
    "ix_withdrawals_woken",
    withdrawals.c.woken_at,
    sqlite_where=withdrawals.c.woken_at.is_not(None),
    postgresql_where=withdrawals.c.woken_at.is_not(None),
)
Index(
    "ix_withdrawals_open",
    withdrawals.c.provider,
    withdrawals.c.status,
    withdrawals.c.taken_at,
    sqlite_where=withdrawals.c.finished_at.is_(None),
    postgresql_where=withdrawals.c.finished_at.is_(None),
)

#: Every change of status, in order: the history that is never rewritten.
transitions: Final = Table(
    "transitions",
    metadata,
    Column("withdrawal", _ROW, ForeignKey("withdrawals.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("previous_status", Text),
    Column("provider_status", Text),
    Column("reason_code", Text),
    Column("reason_provider_code", Text),
    Column("reversal", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    # Who ruled so, and why, where a person did.
    Column("operator", Text),
    Column("note", Text),
    # Over the hash before it, this row, and its event.
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

#: Events, committed with the state they tell of. `published_at` is set once the broker confirmed.
events: Final = Table(
    "events",
    metadata,
    Column("withdrawal", _ROW, ForeignKey("withdrawals.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("published_at", BigInteger),
    sqlite_with_rowid=False,
)

Index(
    "ix_events_unpublished",
    events.c.created_at,
    events.c.withdrawal,
    sqlite_where=events.c.published_at.is_(None),
    postgresql_where=events.c.published_at.is_(None),
)

#: Every create call: begun before it leaves, ended when its outcome is known.
attempts: Final = Table(
    "attempts",
    metadata,
    Column("withdrawal", _ROW, ForeignKey("withdrawals.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("outcome", Text),
    Column("http_status", Integer),
    Column("provider_code", Text),
    Column("request_id", Text),
    Column("provider_text", Text),
    sqlite_with_rowid=False,
)

#: The provider's ids of orders that raise cash, and for which withdrawal each does.
sale_orders: Final = Table(
    "sale_orders",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("withdrawal", _ROW, ForeignKey("withdrawals.id"), nullable=False),
    sqlite_with_rowid=False,
)

#: Webhook deliveries that woke a withdrawal: what tells one from its repeats, and nothing of what
#: it said but the kind of event and whose id it named.
webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("event", Text),
    Column("resource_id", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

Index("ix_webhooks_received_at", webhooks.c.received_at)

#: Cancel messages, each with what it names and the withdrawal that it is for, once that is known.
#: `answer` is the sequence of that withdrawal's event which answers it. One whose withdrawal has
#: not come by `waits_until` is settled as unknown, and `published_at` is when that was confirmed.
cancellations: Final = Table(
    "cancellations",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("request_message_id", Text),
    Column("provider", Text),
    Column("withdrawal_id", Text),
    Column("reason", Text),
    Column("correlation_id", Text),
    Column("reply_to", Text),
    Column("traceparent", Text),
    Column("taken_at", BigInteger, nullable=False),
    Column("waits_until", BigInteger, nullable=False),
    Column("withdrawal", _ROW, ForeignKey("withdrawals.id")),
    Column("settled_at", BigInteger),
    Column("outcome", Text),
    Column("answer", Integer),
    Column("published_at", BigInteger),
    sqlite_with_rowid=False,
)

Index("ix_cancellations_request", cancellations.c.request_message_id)
Index("ix_cancellations_withdrawal_id", cancellations.c.provider, cancellations.c.withdrawal_id)
Index("ix_cancellations_withdrawal", cancellations.c.withdrawal)
Index(
    "ix_cancellations_waiting",
    cancellations.c.waits_until,
    sqlite_where=text("withdrawal IS NULL AND settled_at IS NULL"),
    postgresql_where=text("withdrawal IS NULL AND settled_at IS NULL"),
)
Index(
    "ix_cancellations_unanswered",
    cancellations.c.settled_at,
    sqlite_where=text("withdrawal IS NULL AND published_at IS NULL"),
    postgresql_where=text("withdrawal IS NULL AND published_at IS NULL"),
)

#: Messages that came again and are being read right now, or were when their worker died: how often.
suspects: Final = Table(
    "suspects",
    metadata,
    Column("identity", LargeBinary, primary_key=True),
    Column("starts", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The workers that share this ledger, each with the time (database's clock) it was last seen.
replicas: Final = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

#: Slow work that one replica at a time goes through in rounds, a row for each kind of work. A round
#: is under way while there is a `place`; `found` is what it has found, `completed` what the last
#: one had, as JSON.
rounds: Final = Table(
    "rounds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    Column("held_until", BigInteger),
    Column("began_at", BigInteger, nullable=False),
    Column("since", BigInteger),
    Column("until", BigInteger),
    Column("place", BigInteger),
    Column("last", BigInteger),
    Column("found", Text),
    Column("completed_at", BigInteger),
    Column("completed", Text),
    sqlite_with_rowid=False,
)

#: How many requests, and how much money, each replica took in, finished and buried: counted in the
#: transaction in which it happened, and independent of the rows. Those of replicas that are gone
#: lie together under ''; '' is also the provider and currency of what could not be read.
tallies: Final = Table(
    "tallies",
    metadata,
    Column("replica", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("taken_minor", BigInteger, nullable=False),
    Column("finished", BigInteger, nullable=False),
    Column("finished_minor", BigInteger, nullable=False),
    Column("buried", BigInteger, nullable=False),
    Column("buried_minor", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Dead letters that are in no other table, written before they are published. `copies` are those
#: that count now, of which an operator has `dropped` some; `replayed` ones count no longer.
dead_letters: Final = Table(
    "dead_letters",
    metadata,
    Column("identity", LargeBinary, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("message_id", Text),
    Column("provider", Text),
    Column("currency", Text),
    Column("amount_minor", BigInteger),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("dropped", Integer, nullable=False),
    Column("replayed", Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: What a provider allows for one key pair, and how far it is given away: the time of the next slot
#: that nobody has, until when there are none at all, and how many slots ago one went to the lowest
#: rank that waited. The name holds no credential.
budgets: Final = Table(
    "budgets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", BigInteger, nullable=False),
    Column("paused_until", BigInteger, nullable=False),
    Column("passed", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The calls of a replica that wait for slots it could not get yet, by rank, and when it said so.
budget_demands: Final = Table(
    "budget_demands",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("urgent", Integer, nullable=False),
    Column("submissions", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
