"""Spans of time as an operator writes them: seconds, or ISO 8601.

No years and months: they have no fixed length."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
_ISO_8601 = re.compile(
    r"P(?!$)(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,4})D)?"
    r"(?:T(?!$)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,6})M)?"
    r"(?:(?P<seconds>\d{1,9}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)


def parse_duration(value: object) -> timedelta:
    """The span a text like `0.3`, `15` or `PT15M` names; a timedelta is one already."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        if _SECONDS.fullmatch(value):
            return timedelta(seconds=float(value))
        if match := _ISO_8601.fullmatch(value):
            return timedelta(**{unit: float(n) for unit, n in match.groupdict(default="0").items()})
    raise ValueError("neither seconds nor an ISO 8601 duration")


def write_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same span."""
    whole_minutes, rest = divmod(span, timedelta(minutes=1))
    seconds = f"{rest.total_seconds():f}".rstrip("0").removesuffix(".")
    if not whole_minutes:
        return seconds
    hours, minutes = divmod(whole_minutes, 60)
    parts = ((hours, "H"), (minutes, "M"), (seconds if rest else 0, "S"))
    return "PT" + "".join(f"{number}{unit}" for number, unit in parts if number)


#: A setting that is a span of time; its bounds are given beside it.
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
