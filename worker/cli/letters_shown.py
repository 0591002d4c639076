"""Dead letters, plans and outcomes in words and in JSON.

Nothing is printed here, and no body is looked at. What a producer wrote is made harmless first."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from worker.core.events import moment
from worker.core.replay import Prospect
from worker.ledger.rows import at
from worker.ledger.rows import moment as from_micros
from worker.rabbitmq.properties import NotProperties, take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from worker.core.replay import Known, Letter, Plan

HEADING: Final = (
    f"{'ID':12}  {'REASON':18}  {'AGE':>7}  {'BYTES':>7}  {'FROM':25}  MESSAGE ID  DETAIL"
)
_VALUE_LIMIT: Final = 300
#: Of the letters that need a person, so many are named in a plan for people; JSON names all.
_NAMED_AT_MOST: Final = 20
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def harmless(text: str | None) -> str:
    """Return a text that no terminal acts on: control and odd characters are escaped."""
    if text is None:
        return "-"
    return "".join(
        c.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"}
        else c
        for c in text
    )


def line_of(letter: Letter, *, now: datetime) -> str:
    """Return a letter as one line under `HEADING`."""
    age = "-" if letter.buried_at is None else span(now - letter.buried_at)
    words = (
        f"{letter.id:12}",
        f"{harmless(letter.reason):18}",
        f"{age:>7}",
        f"{letter.size:>7}",
        f"{harmless(letter.origin):25}",
        harmless(letter.message_id),
        harmless(letter.detail),
    )
    return "  ".join(words).rstrip()


def document_of(letter: Letter, *, now: datetime) -> dict[str, Any]:
    """Return a letter as a JSON object; what is not known is null."""
    buried_at = letter.buried_at
    return {
        "id": letter.id,
        "message_id": _name(letter),
        "reason": harmless(letter.reason),
        "detail": harmless(letter.detail),
        "dead_lettered_at": None if buried_at is None else moment(buried_at),
        "age_seconds": None if buried_at is None else round((now - buried_at).total_seconds()),
        "origin_queue": None if letter.origin is None else harmless(letter.origin),
        "bytes": letter.size,
    }


def summary_of(by_reason: Mapping[str, int]) -> str:
    """Return one line that counts letters, the most frequent reason first."""
    total = sum(by_reason.values())
    if not total:
        return "no dead letters"
    most = sorted(by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
    counts = ", ".join(f"{count} {harmless(reason)}" for reason, count in most)
    return f"{letters(total)}: {counts}"


def properties_of(encoded: bytes) -> dict[str, str]:
    """Return a letter's properties and headers by name; what is not a text as its size."""
    try:
        properties = take_apart(encoded)
    except NotProperties:
        return {"properties": f"({len(encoded)} bytes that are not properties)"}
    shown: dict[str, str] = {}
    for name, content in properties.fields.items():
        match name:
            case "delivery_mode" | "priority" | "timestamp":
                shown[name] = str(int.from_bytes(content))
            case _:
                shown[name] = _short(content.decode(errors="surrogateescape"))
    for header in properties.headers or ():
        key = f"header {harmless(header.name.decode(errors='surrogateescape'))}"
        text = header.text if header.value[:1] == b"S" else None
        shown[key] = f"({len(header.value)} bytes)" if text is None else _short(text)
    return shown


def known_of(known: Known | None) -> dict[str, Any]:
    """Return what the ledger says of a request, as a JSON object."""
    if known is None:
        return {"known": False}
    withdrawal = known.withdrawal
    return {
        "known": True,
        "status": withdrawal.status.value,
        "provider": withdrawal.order.provider,
        "withdrawal_id": withdrawal.withdrawal_id,
        "attempts": withdrawal.attempts,
        "outcome_unknown": withdrawal.in_doubt,
        "taken_at": moment(withdrawal.order.taken_at),
        "changed_at": moment(withdrawal.changed_at),
    }


def taken_of(cancellation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the ledger says of a cancellation, as a JSON object."""
    if cancellation is None:
        return {"known": False}
    settled_at = from_micros(cancellation["settled_at"])
    return {
        "known": True,
        "outcome": cancellation["outcome"],
        "taken_at": moment(at(cancellation["taken_at"])),
        "settled_at": None if settled_at is None else moment(settled_at),
    }


def lines_of_plan(plan: Plan, limits: Mapping[str, float], rate: float) -> Iterator[str]:
    """Yield a plan for people: counts with their meaning, the cost, and who is left."""
    going = len(plan.going)
    yield f"{letters(len(plan.letters))} selected, {going} to replay"
    for (prospect, why, goes), count in plan.by_why().items():
        stays = "" if goes else " - not replayed"
        yield f"  {count:>6}  {prospect.value}: {why}{stays}"
    calls = plan.calls()
    for provider, count in calls.items():
        limit = limits[provider]
        yield (
            f"cost: {count} to send = {count} create call{'s' * (count != 1)} to {provider}, "
            f"{count / limit:.1f} s at {limit:g} a second"
        )
    if going and not calls:
        yield "cost: no create calls"
    if going:
        yield f"pace: {rate:g} a second, about {going / rate:.0f} s"
    left = [p.letter for p in plan.letters if p.forecast.prospect is Prospect.PERSON and not p.goes]
    if left:
        yield "left for a person (replay one all the same: --id ID --force):"
        for letter in left[:_NAMED_AT_MOST]:
            yield f"  {letter.id}  {harmless(letter.message_id)}"
        if len(left) > _NAMED_AT_MOST:
            yield f"  and {len(left) - _NAMED_AT_MOST} more; --json names all"


def document_of_plan(plan: Plan, limits: Mapping[str, float], rate: float) -> dict[str, Any]:
    """Return a plan as a JSON object."""
    return {
        "selected": len(plan.letters),
        "to_replay": len(plan.going),
        "safe_to_send": plan.by_prospect()[Prospect.SEND],
        "look_up_only": plan.by_prospect()[Prospect.LOOK_UP],
        "needs_a_person": plan.by_prospect()[Prospect.PERSON],
        "create_calls": plan.calls(),
        "seconds_at_rate_limit": round(plan.seconds(limits), 1),
        "replays_per_second": rate,
        "letters": [
            {
                "id": planned.letter.id,
                "message_id": _name(planned.letter),
                "prospect": planned.forecast.prospect.value,
                "why": planned.forecast.why,
                "replay": planned.goes,
            }
            for planned in plan.letters
        ],
    }


def letters(count: int) -> str:
    """Count in words."""
    return f"{count} dead letter{'s' * (count != 1)}"


def span(age: timedelta) -> str:
    """Write an age with its two largest units."""
    seconds = max(0, int(age.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m {seconds % _MINUTE}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h {seconds % _HOUR // _MINUTE}m"
    return f"{seconds // _DAY}d {seconds % _DAY // _HOUR}h"


def _name(letter: Letter) -> str | None:
    return None if letter.message_id is None else harmless(letter.message_id)


def _short(text: str) -> str:
    shown = harmless(text)
    return shown if len(shown) <= _VALUE_LIMIT else f"{shown[:_VALUE_LIMIT]}..."
