"""The figures of many runs: faults by kind, requests, and how each request fared.

Pure. Numbers only; what broke in a single run stands in its report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tests.faults.judge import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    "unknown_status": "provider: undocumented status",
    "outage": "provider: 503 in an outage",
    "rate_limited": "provider: 429",
}


def figures(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the figures of some runs as JSON."""
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


def table(reports: Sequence[Report]) -> str:
    """Return the figures as a Markdown table."""
    told = figures(reports)
    rows = ["", "| Fault | times | in runs |", "|---|---|---|"]
    rows += [
        f"| {kind} | {count} | {told['runs_with'][kind]} |"
        for kind, count in told["faults"].items()
    ]
    rows += ["", "| | |", "|---|---|"]
    named = {
        "runs": told["runs"],
        "faults": sum(told["faults"].values()),
        "messages": told["messages"],
        "requests": told["requests"],
        **{str(fate): told[str(fate).replace(" ", "_")] for fate in Fate},
    }
    rows += [f"| {name} | {count} |" for name, count in named.items()]
    return "\n".join(rows)
