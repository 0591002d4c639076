"""`python -m tests.faults`: run seeds, print a line for each and the figures at the end.

Exit code 0 when every promise held, 1 when one was broken, 2 for wrong use."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.figures import figures, table
from tests.faults.ground import Missing, found_programs
from tests.faults.plan import SCENARIOS, draw
from tests.faults.run import LIVENESS_SECONDS, run_all
from tests.faults.tongues import BLUUM, TONGUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.plan import Plan
    from tests.faults.run import Report

_BROKEN: Final = 1
_MISUSED: Final = 2
#: Every provider, one after the other.
_ALL: Final = "all"


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    if options.plan:
        for plan in _plans(options):
            print(plan)
        return 0
    # A broker that is killed is no news here.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    try:
        found_programs()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return _MISUSED
    reports = asyncio.run(_run(options))
    told = figures(reports)
    print(table(told["providers"]))
    if options.json:
        Path(options.json).write_text(json.dumps(told, indent=1) + "\n")
    broken = [report for report in reports if not report.is_good]
    for report in broken:
        print(_told(report))
    return _BROKEN if broken else 0


async def _run(options: argparse.Namespace) -> list[Report]:
    """Run every seed, so many at a time as there are jobs, each job on services of its own."""
    # Ended by a signal, it ends what it started, as after Ctrl-C.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_all(
        _plans(options),
        jobs=options.jobs,
        told=lambda report: print(_line(report), flush=True),
        keep=options.keep,
        stop=options.stop,
        liveness_seconds=options.patience,
    )


def _plans(options: argparse.Namespace) -> Iterator[Plan]:
    """Give the plans of one provider after the other, each by its seeds."""
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    for provider in TONGUES if options.provider == _ALL else [options.provider]:
        for seed in seeds:
            yield draw(seed, scenario=options.scenario, provider=provider)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--seeds", type=int, default=10, help="run so many seeds")
    parser.add_argument("--first", type=int, default=1, help="beginning with this one")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    parser.add_argument("--scenario", choices=SCENARIOS, default=SCENARIOS[0])
    parser.add_argument("--provider", choices=[*TONGUES, _ALL], default=BLUUM.provider)
    parser.add_argument("--plan", action="store_true", help="print the plans and run nothing")
    parser.add_argument("--keep", action="store_true", help="keep the evidence of good runs too")
    parser.add_argument("--stop", action="store_true", help="begin no seed after a breach")
    parser.add_argument(
        "--patience",
        type=float,
        default=LIVENESS_SECONDS,
        metavar="SECONDS",
        help="how long everything may take to end after the faults",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


def _line(report: Report) -> str:
    plan, counts = report.plan, report.verdict.counts
    told = ", ".join(f"{count} {fate}" for fate, count in sorted(counts.items()))
    faults = sum(report.deeds.values()) + sum(report.provider_faults.values())
    verdict = "held" if report.is_good else "BROKEN"
    return (
        f"seed {plan.seed:4}  {plan.provider:14}  {verdict:6}  {plan.ledger:10}"
        f"  {plan.workers} worker(s)  {report.messages:3} messages  {faults:3} faults"
        f"  {report.seconds:5.1f} s  {told}"
    )


def _told(report: Report) -> str:
    plan = report.plan
    scenario = "" if plan.scenario == SCENARIOS[0] else f" SCENARIO={plan.scenario}"
    provider = "" if plan.provider == BLUUM.provider else f" PROVIDER={plan.provider}"
    lines = [
        f"\nseed {plan.seed} of {plan.provider} broke a promise:",
        *(f"  {breach}" for breach in report.verdict.breaches),
        f"  evidence: {report.evidence}",
        f"  once more: make faults SEED={plan.seed}{provider}{scenario}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
