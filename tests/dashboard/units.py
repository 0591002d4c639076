"""Numbers as Grafana writes them: with the unit of their panel, short enough for an axis.

Pure; only the units that the dashboard uses are known."""

from __future__ import annotations

import math
from typing import Final

_PLAIN: Final = {"none": "", "short": "", "reqpm": " req/min", "opm": " ops/min"}
_RATES: Final = {"reqps": " req/s", "ops": " ops/s"}
_TIMES: Final = ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "min"))
_THOUSANDS: Final = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
_BYTES: Final = ((1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"))


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a number with its unit; KeyError for a unit that is not known."""
    if unit == "percentunit":
        return f"{_digits(value * 100, decimals)}%"
    if unit == "s":
        return _duration(value, decimals)
    if unit == "bytes":
        return _scaled(value, _BYTES, decimals) or f"{_digits(value, decimals)} B"
    if unit in _RATES:
        return f"{_digits(value, decimals)}{_RATES[unit]}"
    scaled = _scaled(value, _THOUSANDS, decimals) if unit == "short" else ""
    return scaled or f"{_digits(value, decimals)}{_PLAIN[unit]}"


def _scaled(value: float, scales: tuple[tuple[float, str], ...], decimals: int | None) -> str:
    for scale, name in scales:
        if abs(value) >= scale:
            return f"{_digits(value / scale, decimals)}{name}"
    return ""


def _duration(seconds: float, decimals: int | None) -> str:
    for length, name in _TIMES:
        if abs(seconds) >= length:
            count = _digits(seconds / length, decimals or 1)
            return f"{count} {name}{'' if name == 'min' or count == '1' else 's'}"
    if 0 < abs(seconds) < 1:
        return f"{_digits(seconds * 1000, None)} ms"
    return f"{_digits(seconds, decimals)} s"


def _digits(value: float, decimals: int | None) -> str:
    """Return three significant digits, or so many decimals; no zeros at the end."""
    if decimals is None:
        whole = math.floor(math.log10(abs(value))) + 1 if abs(value) >= 1e-9 else 1
        decimals = max(0, 3 - max(whole, 1)) if abs(value) >= 0.1 else 3
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
