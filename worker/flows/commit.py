"""Writing down what was decided for a withdrawal, and letting those know who count and publish.

Where the order is the meaning: nobody is told of what is not committed. Nothing is decided here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.core.events import moment
from worker.core.withdrawal import Status
from worker.flows.journey import ids_of, known

if TYPE_CHECKING:
    from worker.core.answers import Reported
    from worker.core.change import Change, Decision, Held
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Announcer, Observer, Recorder

_log = logging.getLogger(__name__)


async def commit(
    held: Held, decision: Decision, *, ledger: Recorder, observer: Observer, announcer: Announcer
) -> None:
    """Commit a decision; when somebody else has the withdrawal by now, nothing happens.

    Raises LedgerUnavailable and StepRefused as the ledger does.
    """
    recorded = await ledger.record(held, decision)
    if recorded is None:
        _log.warning("outcome was recorded by another", extra=ids_of(held.withdrawal))
        return
    tell(recorded, decision, observer=observer, announcer=announcer)


def tell(recorded: Held, decision: Decision, *, observer: Observer, announcer: Announcer) -> None:
    """Log, count and have published what was committed: a line for each move."""
    withdrawal = recorded.withdrawal
    for change in decision.changes:
        log_change(withdrawal, change)
        observer.changed(withdrawal, change)
    if decision.submitted_after is not None:
        observer.submitted(withdrawal, decision.submitted_after)
    if decision.changes:
        announcer.told(recorded.row)
    elif _log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "withdrawal not moved",
            extra={**ids_of(withdrawal), "status": withdrawal.status.value, **due(withdrawal)},
        )


def log_change(withdrawal: Withdrawal, change: Change) -> None:
    """Write the line of one move that is committed."""
    fields = {
        **ids_of(withdrawal),
        "sequence": change.sequence,
        "status": change.status.value,
        "previous_status": change.previous.value if change.previous else None,
        "provider_status": change.provider_status,
        "reason": change.reason.code.value if change.reason else None,
        "provider_code": change.reason.provider_code if change.reason else None,
        "cause": change.cause.value,
        # What does not hold needs no words.
        "reversal": change.reversal or None,
    }
    # A person has to find out what became of it; of everything else the end is known or near.
    level = logging.ERROR if change.status is Status.UNRESOLVED else logging.INFO
    _log.log(
        level,
        "withdrawal moved" if change.word is None else "cancellation refused",
        extra=known(fields),
    )


def log_unknown_status(withdrawal: Withdrawal, reported: Reported) -> None:
    """Write that a provider used a status word that nobody documented."""
    _log.warning(
        "unknown status",
        extra={**ids_of(withdrawal), "provider_status": reported.provider_status},
    )


def due(withdrawal: Withdrawal) -> dict[str, str]:
    """Return when a withdrawal is taken up again, as fields of a line."""
    return {} if withdrawal.due_at is None else {"due_at": moment(withdrawal.due_at)}
