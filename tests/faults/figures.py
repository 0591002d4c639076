"""The figures of many runs: faults by kind, requests, and how each request fared.

Numbers only; what broke in a single run stands in its report."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.faults.judge import Fate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.faults.run import Report

#: What the simulator counts, in the words of the table.
_PROVIDER_FAULTS: Final[Mapping[str, str]] = {
    "drop_before": "provider: connection cut before the effect",
    "drop_after": "provider: connection cut after the effect",
    "error_before": "provider: error before the effect",
    "error_after": "provider: error after the effect",
    "hang_before": "provider: silence before the effect",
    "hang_after": "provider: silence after the effect",
    "garbage_after": "provider: unusable answer after the effect",
    "late": "provider: connection cut, the effect a while later",
    "unknown_status": "provider: undocumented status",
    "outage": "provider: 503 in an outage",
    "rate_limited": "provider: 429",
    "webhook_lost": "provider: webhook never sent",
}


def figures(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the figures of some runs as JSON: all together, and each provider's (`providers`)."""
    names = dict.fromkeys(report.plan.provider for report in reports)
    return _figures(reports) | {
        "providers": {
            name: _figures([report for report in reports if report.plan.provider == name])
            for name in names
        }
    }


def table(told: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of providers, by their names, as Markdown tables: a column for each."""
    kinds = sorted({kind for one in told.values() for kind in one["faults"]})
    rows = ["", _row("Fault (times / runs with it)", told), _row("---", ["---"] * len(told))]
    rows += [_row(kind, [_times(one, kind) for one in told.values()]) for kind in kinds]
    rows += ["", _row("", told), _row("---", ["---"] * len(told))]
    rows += [
        _row(name, [_sum(one, name) for one in told.values()])
        for name in ("runs", "faults", "messages", "requests", *Fate)
    ]
    return "\n".join(rows)


def _figures(reports: Sequence[Report]) -> dict[str, Any]:
    fates: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    runs_with: Counter[str] = Counter()
    for report in reports:
        fates.update({str(fate): n for fate, n in report.verdict.counts.items()})
        own = Counter(report.deeds)
        for name, count in report.provider_faults.items():
            own[_PROVIDER_FAULTS.get(name, f"provider: {name}")] += count
        faults.update(own)
        runs_with.update(own.keys())
    return {
        "runs": len(reports),
        "seeds": [report.plan.seed for report in reports],
        "messages": sum(report.messages for report in reports),
        "requests": sum(fates.values()),
        **{str(fate).replace(" ", "_"): fates[str(fate)] for fate in Fate},
        "faults": {kind: faults[kind] for kind in sorted(faults)},
        "runs_with": {kind: runs_with[kind] for kind in sorted(faults)},
        "restarts": sum(report.restarts for report in reports),
        "broken_seeds": [report.plan.seed for report in reports if not report.is_good],
        "seconds": round(sum(report.seconds for report in reports), 1),
    }


def _row(first: str, others: Iterable[str]) -> str:
    return "| " + " | ".join([first, *others]) + " |"


def _times(one: Mapping[str, Any], kind: str) -> str:
    times = one["faults"].get(kind)
    return f"{times} / {one['runs_with'][kind]}" if times else "0"


def _sum(one: Mapping[str, Any], name: str) -> str:
    value = one[name.replace(" ", "_")]
    return str(sum(value.values()) if name == "faults" else value)


if __name__ == "__main__":
    # The files that several runs have written with `--json`, in one table.
    merged: dict[str, Mapping[str, Any]] = {}
    for file in sys.argv[1:]:
        merged |= json.loads(Path(file).read_text(encoding="utf-8"))["providers"]
    sys.stdout.write(f"{table(merged)}\n")
