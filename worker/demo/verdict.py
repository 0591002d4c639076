"""What the run comes to: the audit, whether everything came, and whether it was what had to come.

Pure: evidence in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.withdrawal import idempotency_key
from worker.demo.audit import Finding, Promise, audit
from worker.demo.tally import Tally, tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.demo.audit import Seen
    from worker.demo.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The run, judged.

    `findings` are the breaches of P1 to P3, `missing` the scenarios of which something has not
    come, `wrong` those that came out as they must not. `waiting` messages lie in the queues still,
    `replays` create calls were known to the provider already.
    """

    tally: Tally
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    waiting: int
    replays: int

    @property
    def holds(self) -> bool:
        """Whether all is as promised."""
        return not (self.findings or self.missing or self.wrong or self.waiting)

    def against(self, promise: Promise) -> tuple[Finding, ...]:
        """Return what speaks against one promise."""
        return tuple(finding for finding in self.findings if finding.promise is promise)


def judge(seen: Seen, outcomes: Sequence[Outcome], *, waiting: int, replays: int) -> Verdict:
    """Judge a run that is over."""
    return Verdict(
        tally=tally(seen),
        findings=audit(seen, key_of=idempotency_key),
        missing=tuple(found.title for found in outcomes if not found.is_settled),
        wrong=tuple(found.title for found in outcomes if found.is_settled and not found.is_right),
        waiting=waiting,
        replays=replays,
    )
