"""How long a withdrawal usually takes from its first status at the provider to its end.

Pure: documented figures, and what can be learned from how long others took. Nothing is promised by
them, and nothing about money depends on them: they only say when a look tells most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual time, as spans of business time: hardly any end before, hardly any after.

    Business time passes on days from Monday to Friday (UTC) alone, 24 hours a day; one day of it is
    a business day. Public holidays are not known here.
    """

    soonest: timedelta
    latest: timedelta


@dataclass(frozen=True, slots=True)
class Course:
    """How one withdrawal went: from its first status at the provider to its end."""

    provider: str
    method: str
    began_at: datetime
    ended_at: datetime


#: What is documented of Bluum's withdrawals: ACH 1-3 business days (neo-bank contract, the only
#: figure there is). Of wires nothing is: they are paid within hours on business days, in the US by
#: the Fedwire system's own hours. The rest is taken to be like the slowest deposits, 1-5 (PF).
#: Where there is no choice of method it is a SEPA credit transfer (Upvest), of which Upvest says
#: nothing: the law gives a bank until the end of the next business day (PSD2, article 83).
DOCUMENTED: Final[Mapping[str, Usual]] = {
    "": Usual(timedelta(hours=1), 1 * _DAY),
    "ach": Usual(1 * _DAY, 3 * _DAY),
    "ach_plaid": Usual(1 * _DAY, 3 * _DAY),
    "wire": Usual(timedelta(hours=1), timedelta(hours=8)),
}
OTHERWISE: Final = Usual(1 * _DAY, 5 * _DAY)

#: So many ends of a method are needed before its history is believed.
ENDS_NEEDED: Final = 200
_SOONEST_SHARE: Final = 0.1
_LATEST_SHARE: Final = 0.9


def documented(method: str | None) -> Usual:
    """Return what is known of a method without history; None where there is no choice of one."""
    return DOCUMENTED.get(method or "", OTHERWISE)


def expected_window(usual: Usual, began_at: datetime) -> tuple[datetime, datetime]:
    """Return from when to when a withdrawal may be expected to end.

    `began_at` is when it got its first status at the provider. What begins on a weekend counts from
    Monday, 0:00 UTC.
    """
    return after_business_time(began_at, usual.soonest), after_business_time(began_at, usual.latest)


def learned(courses: Iterable[Course]) -> dict[tuple[str, str], Usual]:
    """Return the usual time by provider and method, of those with enough history.

    It reaches from the 10th to the 90th percentile of the courses given.
    """
    spans: dict[tuple[str, str], list[timedelta]] = {}
    for course in courses:
        took = business_time(course.began_at, course.ended_at)
        spans.setdefault((course.provider, course.method), []).append(took)
    return {key: _between(sorted(taken)) for key, taken in spans.items() if _is_enough(taken)}


def business_time(start: datetime, end: datetime) -> timedelta:
    """Return how much business time passes from `start` to `end`; none when the end is before."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if end <= start:
        return timedelta(0)
    return _since_monday(end) - _since_monday(start) + _weeks_between(start, end) * 5 * _DAY


def after_business_time(start: datetime, span: timedelta) -> datetime:
    """Return the first moment at which so much business time has passed since `start`."""
    start = start.astimezone(UTC)
    weeks, rest = divmod(_since_monday(start) + span, 5 * _DAY)
    if not rest and span:
        # The very end of a week's business time is Friday, 24:00, and not the Monday after it.
        weeks, rest = weeks - 1, 5 * _DAY
    return _monday(start) + weeks * 7 * _DAY + rest


def _between(spans: Sequence[timedelta]) -> Usual:
    last = len(spans) - 1
    return Usual(spans[round(last * _SOONEST_SHARE)], spans[round(last * _LATEST_SHARE)])


def _is_enough(spans: Sequence[timedelta]) -> bool:
    return len(spans) >= ENDS_NEEDED


def _since_monday(moment: datetime) -> timedelta:
    """Return the business time that has passed of the moment's own week."""
    return min(moment - _monday(moment), _SATURDAY * _DAY)


def _monday(moment: datetime) -> datetime:
    day = moment.date() - moment.weekday() * _DAY
    return datetime.combine(day, time(), UTC)


def _weeks_between(start: datetime, end: datetime) -> int:
    return (_monday(end) - _monday(start)) // (7 * _DAY)
