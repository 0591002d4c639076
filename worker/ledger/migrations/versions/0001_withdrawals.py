"""Withdrawals, their transitions, events and attempts, and the replicas that work on them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables and their indexes."""
    op.create_table(
        "withdrawals",
        sa.Column("id", _ROW, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("provider", sa.Text),
        sa.Column("party_id", sa.Text),
        sa.Column("target_id", sa.Text),
        sa.Column("amount_minor", sa.BigInteger),
        sa.Column("currency", sa.Text),
        sa.Column("method", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("reply_to", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("wait_for_funds_until", sa.BigInteger),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("withdrawal_id", sa.Text),
        sa.Column("provider_status", sa.Text),
        sa.Column("reason_code", sa.Text),
        sa.Column("reason_provider_code", sa.Text),
        sa.Column("reason_detail", sa.Text),
        sa.Column("held_refusal_code", sa.Text),
        sa.Column("held_refusal_provider_code", sa.Text),
        sa.Column("held_refusal_detail", sa.Text),
        sa.Column("in_doubt", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_attempt_at", sa.BigInteger),
        sa.Column("empty_lookups", sa.Integer, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("errand", sa.Integer, nullable=False),
        sa.Column("sales", sa.Text),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("woken_at", sa.BigInteger),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
    )
    _index("uq_withdrawals_message_id", "withdrawals", ["message_id"], unique=True)
    _index(
        "uq_withdrawals_withdrawal_id",
        "withdrawals",
        ["provider", "withdrawal_id"],
        where="withdrawal_id IS NOT NULL",
        unique=True,
    )
    _index("ix_withdrawals_due", "withdrawals", ["errand", "due_at"], where="due_at IS NOT NULL")
    _index(
        "ix_withdrawals_party",
        "withdrawals",
        ["provider", "party_id", "due_at"],
        where="due_at IS NOT NULL",
    )
    _index("ix_withdrawals_party_taken", "withdrawals", ["provider", "party_id", "taken_at"])
    _index("ix_withdrawals_woken", "withdrawals", ["woken_at"], where="woken_at IS NOT NULL")
    _index(
        "ix_withdrawals_open",
        "withdrawals",
        ["provider", "status", "taken_at"],
        where="finished_at IS NULL",
    )
    op.create_table(
        "transitions",
        sa.Column("withdrawal", _ROW, sa.ForeignKey("withdrawals.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("previous_status", sa.Text),
        sa.Column("provider_status", sa.Text),
        sa.Column("reason_code", sa.Text),
        sa.Column("reason_provider_code", sa.Text),
        sa.Column("reversal", sa.Boolean, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("operator", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("withdrawal", _ROW, sa.ForeignKey("withdrawals.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("published_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    _index(
        "ix_events_unpublished",
        "events",
        ["created_at", "withdrawal"],
        where="published_at IS NULL",
    )
    op.create_table(
        "attempts",
        sa.Column("withdrawal", _ROW, sa.ForeignKey("withdrawals.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("provider_code", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("provider_text", sa.Text),
        sqlite_with_rowid=False,
    )
    _tables_of_hints()
    _table_of_cancellations()
    op.create_table(
        "suspects",
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("starts", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    _tables_of_the_books()
    _tables_of_the_budget()
    _table_of_rounds()


def _tables_of_hints() -> None:
    op.create_table(
        "sale_orders",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("withdrawal", _ROW, sa.ForeignKey("withdrawals.id"), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "webhooks",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("event", sa.Text),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    _index("ix_webhooks_received_at", "webhooks", ["received_at"])


def _tables_of_the_budget() -> None:
    op.create_table(
        "budgets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("paused_until", sa.BigInteger, nullable=False),
        sa.Column("passed", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "budget_demands",
        sa.Column("budget", sa.Text, primary_key=True),
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("urgent", sa.Integer, nullable=False),
        sa.Column("submissions", sa.Integer, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _table_of_cancellations() -> None:
    op.create_table(
        "cancellations",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("request_message_id", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("withdrawal_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("correlation_id", sa.Text),
        sa.Column("reply_to", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("waits_until", sa.BigInteger, nullable=False),
        sa.Column("withdrawal", _ROW, sa.ForeignKey("withdrawals.id")),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("answer", sa.Integer),
        sa.Column("published_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    _index("ix_cancellations_request", "cancellations", ["request_message_id"])
    _index("ix_cancellations_withdrawal_id", "cancellations", ["provider", "withdrawal_id"])
    _index("ix_cancellations_withdrawal", "cancellations", ["withdrawal"])
    _index(
        "ix_cancellations_waiting",
        "cancellations",
        ["waits_until"],
        where="withdrawal IS NULL AND settled_at IS NULL",
    )
    _index(
        "ix_cancellations_unanswered",
        "cancellations",
        ["settled_at"],
        where="withdrawal IS NULL AND published_at IS NULL",
    )


def _table_of_rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text),
        sa.Column("held_until", sa.BigInteger),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger),
        sa.Column("until", sa.BigInteger),
        sa.Column("place", sa.BigInteger),
        sa.Column("last", sa.BigInteger),
        sa.Column("found", sa.Text),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("completed", sa.Text),
        sqlite_with_rowid=False,
    )


def _tables_of_the_books() -> None:
    op.create_table(
        "tallies",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("currency", sa.Text, primary_key=True),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("taken_minor", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger, nullable=False),
        sa.Column("finished_minor", sa.BigInteger, nullable=False),
        sa.Column("buried", sa.BigInteger, nullable=False),
        sa.Column("buried_minor", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letters",
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("currency", sa.Text),
        sa.Column("amount_minor", sa.BigInteger),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("copies", sa.Integer, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("replayed", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )


def _index(
    name: str, table: str, columns: list[str], *, where: str | None = None, unique: bool = False
) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
