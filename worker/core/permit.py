"""The right to send a create call: the intent that is committed before it, and the permit.

Pure, and the rule that it serves is: money is never sent on a guess. A create call may go out only
with a `Permit`; a permit exists only for a withdrawal whose intent is committed and whose key the
provider still remembers (or which is known never to have reached it). Nothing else makes one."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.core.change import Cause, Decision, move
from worker.core.limits import forgotten_at
from worker.core.steps import Step, next_step

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Held
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one create call, until `valid_until`. Made by `permit` alone.

    A provider may send it again when the answer was that it was not carried out, and no other.
    It carries all that the call may use: the key and the exact bytes that were committed. It ends
    with the `tenure` in which they were: a worker that was taken for dead since must not use it.
    """

    idempotency_key: str
    party_id: str
    body: bytes = field(repr=False)
    tenure: int
    valid_until: datetime
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        """Refuse a permit that did not come from `permit`, be it a changed copy of one that did."""
        if made_by is not _PERMITS:
            message = "a permit to create is made by worker.core.permit.permit alone"
            raise TypeError(message)


_PERMITS: Final = object()


def take_in(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Begin the life of a request: `received`, with its first create call intended at `now`.

    Where cash is to be raised first, no call is intended: it is due at once for that.
    """
    if withdrawal.sales:
        return move(withdrawal, replace(withdrawal, due_at=now), cause=Cause.INTAKE, now=now)
    begun = replace(_intended(withdrawal), first_attempt_at=now, due_at=now)
    return move(withdrawal, begun, cause=Cause.INTAKE, now=now)


def intend(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    """Mark that one more create call is about to leave; committed before it does (contract P4).

    The key's age counts from the first call since it was last forgotten for certain, also when that
    call was refused: whether a provider's memory begins anew with each is not documented. Should
    the window have ended since the step was chosen, the age stays, and no permit follows.
    """
    intended = _intended(withdrawal)
    first_at = withdrawal.first_attempt_at
    is_forgotten = now >= forgotten_at(withdrawal, now=now, patience=patience)
    if is_forgotten and not withdrawal.in_doubt:
        first_at = now
    return Decision(replace(intended, first_attempt_at=first_at))


def permit(held: Held, *, now: datetime, patience: Patience) -> Permit | None:
    """Give the right to call create, or None when it must not be called (any more).

    `held` must be the committed intent: in doubt, with the time of its first attempt. There is no
    way round the horizon of the provider's memory, since a provider's `create` takes a `Permit` and
    nothing else makes one.
    """
    withdrawal = held.withdrawal
    order, first_at = withdrawal.order, withdrawal.first_attempt_at
    if not withdrawal.in_doubt or first_at is None or order.party_id is None:
        return None
    if next_step(withdrawal, now=now, patience=patience) is not Step.CREATE:
        return None
    valid_until = first_at + patience.window_of(order.provider)
    if order.not_after is not None:
        valid_until = min(valid_until, order.not_after)
    return Permit(
        order.idempotency_key, order.party_id, order.body, held.tenure, valid_until, _PERMITS
    )


def _intended(withdrawal: Withdrawal) -> Withdrawal:
    # An empty look-up from before this call says nothing about this call.
    return replace(withdrawal, attempts=withdrawal.attempts + 1, empty_lookups=0, in_doubt=True)
