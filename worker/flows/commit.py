"""Writing down what was decided for a withdrawal, and letting those know who count and publish.

Where the order is the meaning: nobody is told of what is not committed. Nothing is decided here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.decide import Decision, Held
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
        message_id = held.withdrawal.order.message_id
        _log.warning("outcome was recorded by another", extra={"message_id": message_id})
        return
    for change in decision.changes:
        observer.changed(recorded.withdrawal, change)
    if decision.changes:
        announcer.told(recorded.row)
