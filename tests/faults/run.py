"""One seed from start to verdict: the faults, the healing, the wait for every end, the audit.

Safety is judged over everything that was seen; liveness begins when the faults are over."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.faults.ground import Ground
from tests.faults.judge import Evidence, Verdict, judge, untold
from tests.faults.logs import log_breaches
from tests.faults.messages import a_request
from tests.faults.nemesis import Nemesis
from tests.faults.plan import Fault, Ledger, Plan
from tests.faults.world import World, a_world
from worker.core.withdrawal import idempotency_key
from worker.demo.audit import Seen
from worker.demo.evidence import read_effects, read_record, with_our_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: So long everything may take to come to an end once the faults are over.
LIVENESS_SECONDS: Final = 120.0
_PAUSE: Final = 0.1
#: What stopping workers gave back to the queue is taken by one that is started for it.
_ROUNDS: Final = 4
#: A worker that is asked to stop ends with 0; one that could not hear yet, by the signal.
_GOOD_STOPS: Final = frozenset({0, -15})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one seed. `evidence` is a folder, kept when a promise was broken."""

    plan: Plan
    verdict: Verdict
    deeds: Counter[str] = field(default_factory=Counter)
    provider_faults: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    restarts: int = 0
    seconds: float = 0.0
    evidence: Path | None = None

    @property
    def is_good(self) -> bool:
        """Whether no promise was broken."""
        return not self.verdict.breaches


async def run_all(
    plans: Iterable[Plan],
    *,
    jobs: int,
    told: Callable[[Report], None] = lambda _report: None,
    keep: bool = False,
    stop: bool = False,
    liveness_seconds: float = LIVENESS_SECONDS,
) -> list[Report]:
    """Run plans, `jobs` at a time, each job on services of its own; return them by seed.

    `told` hears of each as it is done, `stop` begins none after a breach. Raises Missing when a
    program is not installed.
    """
    waiting = iter(plans)
    reports: list[Report] = []
    migrating = asyncio.Lock()

    async def job(first: Plan) -> None:
        async with Ground(nodes=first.nodes, migrating=migrating) as ground:
            for plan in chain([first], waiting):
                if stop and not all(report.is_good for report in reports):
                    return
                report = await run_seed(plan, ground, keep=keep, liveness_seconds=liveness_seconds)
                reports.append(report)
                told(report)

    async with asyncio.TaskGroup() as group:
        for first in islice(waiting, jobs):
            group.create_task(job(first))
    return sorted(reports, key=lambda report: (report.plan.provider, report.plan.seed))


async def run_seed(
    plan: Plan,
    ground: Ground,
    *,
    keep: bool = False,
    liveness_seconds: float = LIVENESS_SECONDS,
) -> Report:
    """Run a plan and judge it; the evidence is kept on a breach, or always (`keep`)."""
    began_at = time.monotonic()
    prefix = f"faults-{plan.provider}-{plan.scenario}-{plan.seed}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    async with a_world(plan, ground, folder) as world:
        run = _Run(world, liveness_seconds)
        evidence = await run.evidence()
        restarts = sum(len(place.exits) for place in world.places)
    verdict = judge(evidence, key_of=idempotency_key)
    is_kept = keep or bool(verdict.breaches)
    if is_kept:
        _write(folder, plan, evidence, verdict)
    else:
        shutil.rmtree(folder)
    return Report(
        plan=plan,
        verdict=verdict,
        deeds=Counter(deed.kind for deed in evidence.deeds),
        provider_faults=_provider_faults(evidence.record["counters"]),
        messages=len(evidence.seen.sent) + len(evidence.seen.cancels),
        restarts=restarts,
        seconds=time.monotonic() - began_at,
        evidence=folder if is_kept else None,
    )


class _Run:
    """The course of one run."""

    def __init__(self, world: World, liveness_seconds: float) -> None:
        self._world = world
        self._seconds = liveness_seconds
        self._client = world.client
        self._foreseen = list(world.plan.all_messages)
        self._others: list[str] = []

    async def evidence(self) -> Evidence:
        """Let it happen, and return what was seen of it."""
        world = self._world
        await world.ready()
        nemesis = Nemesis(world, began=datetime.now(UTC))
        await nemesis.run()
        await world.heal()
        await self._everything_ended("the faults")
        if any(action.fault is Fault.EXPIRY_END for action in world.plan.actions):
            await nemesis.expire_and_replay()
        random = Random(world.plan.seed)  # noqa: S311 - no secret
        last = a_request(world.plan.tongue, random, at=0.0, message_id="last")
        self._foreseen.append(last)
        await nemesis.publish(last)
        await self._everything_ended("the replay")
        await self._work_off()
        self._others += self._log_breaches()
        record = with_our_keys(world.stand.record())
        return Evidence(
            seen=Seen(
                sent=tuple(self._client.sent),
                executed=read_record(record),
                heard=tuple(self._client.heard),
                buried=tuple(await self._client.dead_letters()),
                cancels=tuple(self._client.cancels),
                effects=read_effects(record),
            ),
            foreseen=tuple(self._foreseen),
            sent_at=self._client.sent_at,
            ended_at=self._client.ended_at,
            deeds=tuple(nemesis.deeds),
            answers=self._client.answers,
            record=record,
            tongue=world.plan.tongue,
            others=tuple(self._others),
        )

    def _log_breaches(self) -> list[str]:
        """Return what is wrong with the workers' logs, which are complete by now."""
        world = self._world
        logs = {
            f"worker {number}": place.worker.output for number, place in enumerate(world.places)
        }
        return log_breaches(logs, secrets=world.stand.secrets, heard=self._client.heard)

    async def _everything_ended(self, after: str) -> None:
        """Wait until every request has an end and no message waits; note it when one does not."""
        wanted = {m.message_id for m in self._foreseen if m.ends} - {None}
        try:
            async with asyncio.timeout(self._seconds), self._client.news:
                await self._client.news.wait_for(
                    lambda: wanted <= self._client.settled and self._all_answered()
                )
            async with asyncio.timeout(self._seconds):
                while (  # noqa: ASYNC110 - broker and simulator are asked
                    await self._client.waiting() or self._is_untold()
                ):
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            # What has no end is lost, and the audit says which.
            self._others.append(f"not everything ended within {self._seconds:g} s of {after}")

    def _all_answered(self) -> bool:
        client = self._client
        return all(
            m.message_id in client.answers or m.cancels in client.unresolved
            for m in self._foreseen
            if m.cancels is not None
        )

    def _is_untold(self) -> bool:
        """Tell whether the provider did something that has not been told yet: a reversal, say."""
        record = with_our_keys(self._world.stand.record())
        evidence = Evidence(
            seen=Seen(heard=tuple(self._client.heard), executed=read_record(record)),
            foreseen=tuple(self._foreseen),
            record=record,
            tongue=self._world.plan.tongue,
        )
        found = untold(evidence, key_of=idempotency_key)
        return any(name not in self._client.unresolved for name, _ in found)

    async def _work_off(self) -> None:
        """Stop every worker in order, and have worked off what they gave back to the queue."""
        places = self._world.places
        for _ in range(_ROUNDS):
            await asyncio.gather(*(place.terminate() for place in places))
            if not await self._client.waiting():
                break
            await places[0].start()
            await places[0].worker.ready()
            await self._everything_ended("the stop")
        else:
            self._others.append(f"{await self._client.waiting()} message(s) stay in the queue")
        for number, place in enumerate(places):
            if bad := [code for code in place.stops if code not in _GOOD_STOPS]:
                self._others.append(f"worker {number}, asked to stop, ended with {bad}")
            # Who starts while PostgreSQL is away ends with 1, and is started again.
            is_fair = self._world.plan.ledger is Ledger.POSTGRESQL
            if bad := [code for code in place.exits if not is_fair or code != 1]:
                self._others.append(f"worker {number} ended by itself with {bad}")


def _provider_faults(counters: Mapping[str, Any]) -> Counter[str]:
    faults: Counter[str] = Counter(counters["faults"])
    if counters["rate_limited"]:
        faults["rate_limited"] = counters["rate_limited"]
    if lost := counters["webhooks"].get("lost"):
        faults["webhook_lost"] = lost
    return faults


def _write(folder: Path, plan: Plan, evidence: Evidence, verdict: Verdict) -> None:
    """Write down everything by which a breach can be understood, beside the workers' logs."""
    (folder / "plan.txt").write_text(f"{plan}\n")
    (folder / "verdict.txt").write_text("".join(f"{line}\n" for line in verdict.breaches))
    (folder / "record.json").write_text(json.dumps(evidence.record, indent=1))
    for name, items in (
        ("sent", evidence.seen.sent),
        ("heard", evidence.seen.heard),
        ("buried", evidence.seen.buried),
        ("cancels", evidence.seen.cancels),
        ("deeds", evidence.deeds),
    ):
        lines = [json.dumps(asdict(item), default=str) for item in items]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
