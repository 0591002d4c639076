"""Breaks the worker itself, one guard at a time, and shows that the harness notices.

Works on copies of the tree; the tree itself stays as it is. A guard whose text is gone is an error,
never a guard that was checked."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.judge import Fate
from tests.faults.tongues import BLUUM, TONGUES

_TREE: Final = Path(__file__).resolve().parents[2]
_LEFT_OUT: Final = (".git", ".venv", "*_cache", ".hypothesis", "__pycache__", ".demo")
#: A lost request is waited for; a mutated worker loses some.
_PATIENCE: Final = 30


@dataclass(frozen=True, slots=True)
class Patch:
    """One place in the code: the text that stands there exactly once, and what takes its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """A guard that is removed, and the breach that has to follow."""

    name: str
    removes: str
    fate: Fate
    patches: tuple[Patch, ...]


class TextGone(Exception):  # noqa: N818 - named by what happened
    """A patch does not fit any more: the code has changed, and the mutation has to follow."""


MUTATIONS: Final = (
    Mutation(
        "intent",
        "the commit of the intent before the call",
        Fate.DUPLICATED,
        (
            Patch(
                "worker/core/permit.py",
                "    begun = replace(_intended(withdrawal), first_attempt_at=now, due_at=now)\n",
                "    begun = replace(withdrawal, due_at=now)\n",
            ),
            Patch(
                "worker/flows/intake.py",
                "            await self._submission.run(held, doubt_before=False)\n",
                "            from dataclasses import replace\n"
                "            from worker.core.permit import intend\n"
                "            patience = self._submission._patience\n"
                "            intent = intend(held.withdrawal, now=self._now(), patience=patience)\n"
                "            intended = replace(held, withdrawal=intent.withdrawal)\n"
                "            await self._submission.run(intended, doubt_before=False)\n",
            ),
            Patch(
                "worker/flows/follow.py",
                "intended = await self._ledger.record(held, intent, (attempt,), keep=True)",
                "intended = replace(held, withdrawal=intent.withdrawal)",
            ),
        ),
    ),
    Mutation(
        "horizon",
        "the horizon: a key is sent again for ever",
        Fate.DUPLICATED,
        (
            Patch(
                "worker/core/limits.py",
                "    return now < first_at + patience.window_of(withdrawal.order.provider)\n",
                "    return True\n",
            ),
            Patch(
                "worker/core/permit.py",
                "    valid_until = first_at + patience.window_of(order.provider)\n",
                "    from datetime import timedelta\n"
                "    valid_until = first_at + timedelta(days=365)\n",
            ),
        ),
    ),
    Mutation(
        "order",
        "the order in which events are announced",
        Fate.OUT_OF_ORDER,
        (
            Patch(
                "worker/flows/announce.py",
                "        for event in of_row:\n",
                "        for event in reversed(list(of_row)):\n",
            ),
        ),
    ),
    Mutation(
        "acknowledgement",
        "the acknowledgement after the commit: it comes before",
        Fate.LOST,
        (
            Patch(
                "worker/rabbitmq/consumer.py",
                "            settlement = await self._handled(delivery, journey)\n",
                "            with suppress(*failures.AWAY):\n"
                "                await delivery.accept()\n"
                "            settlement = await self._handled(delivery, journey)\n",
            ),
            Patch(
                "worker/rabbitmq/consumer.py",
                "            case Accept():\n                await delivery.accept()\n",
                "            case Accept():\n                pass\n",
            ),
            Patch(
                "worker/rabbitmq/consumer.py",
                "                await delivery.give_back()\n            case _:",
                "                pass\n            case _:",
            ),
            Patch(
                "worker/rabbitmq/consumer.py",
                "        )\n        await delivery.accept()\n        return burial\n",
                "        )\n        return burial\n",
            ),
        ),
    ),
)


def mutate(tree: Path, mutation: Mutation) -> None:
    """Change a copy of the tree; raises TextGone when a patch does not fit exactly once."""
    for patch in mutation.patches:
        path = tree / patch.path
        text = path.read_text(encoding="utf-8")
        if (count := text.count(patch.old)) != 1:
            raise TextGone(f"{mutation.name}: {count} times in {patch.path}:\n{patch.old}")
        path.write_text(text.replace(patch.old, patch.new), encoding="utf-8")


def copy_tree(to: Path) -> Path:
    """Copy what a run needs of the tree; return where the copy lies."""
    return Path(shutil.copytree(_TREE, to / "tree", ignore=shutil.ignore_patterns(*_LEFT_OUT)))


def main() -> int:
    """Check the mutations; exit code 1 when one was not noticed, 0 when all were."""
    options = _options()
    chosen = [m for m in MUTATIONS if options.only in {None, m.name}]
    missed = [mutation.name for mutation in chosen if not _is_noticed(mutation, options)]
    if missed:
        print(f"not noticed within {options.seeds} seeds: {', '.join(missed)}")
    return 1 if missed else 0


def _is_noticed(mutation: Mutation, options: argparse.Namespace) -> bool:
    """Run seed after seed until the breach is found; another one on the way does not count."""
    with tempfile.TemporaryDirectory(prefix="withdrawals-mutation-") as name:
        tree, told = copy_tree(Path(name)), Path(name) / "figures.json"
        mutate(tree, mutation)
        print(f"\nwithout {mutation.removes}:", flush=True)
        first, end = options.first, options.first + options.seeds
        while first < end:
            told.unlink(missing_ok=True)
            done = _run(tree, told, options, seeds=range(first, end))
            if not told.exists():
                print(done.stdout, done.stderr)
                return False
            figures = json.loads(told.read_text())
            lines = [line for line in done.stdout.splitlines() if line.startswith(("seed", "  "))]
            print("\n".join(lines))
            if found := figures[mutation.fate.replace(" ", "_")]:
                print(f"  {mutation.fate}: {found} request(s), seeds {figures['broken_seeds']}")
                return True
            first = max(figures["seeds"]) + 1
        return False


def _run(
    tree: Path, told: Path, options: argparse.Namespace, *, seeds: range
) -> subprocess.CompletedProcess[str]:
    """Run seeds in a copy of the tree until one breaks a promise; the figures go to `told`."""
    arguments = {
        "--provider": options.provider,
        "--first": seeds.start,
        "--seeds": len(seeds),
        "--jobs": options.jobs,
        "--patience": _PATIENCE,
        "--json": told,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    command = [sys.executable, "-m", "tests.faults", "--stop", *words]
    return subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutations", description=__doc__)
    parser.add_argument("--only", choices=[mutation.name for mutation in MUTATIONS])
    parser.add_argument("--provider", choices=TONGUES, default=BLUUM.provider)
    parser.add_argument("--first", type=int, default=1, help="beginning with this seed")
    parser.add_argument("--seeds", type=int, default=20, help="so many at the most")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
