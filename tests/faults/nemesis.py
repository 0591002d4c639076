"""Carries out what a plan has in store, and keeps the book of what was done when.

It breaks things and mends them again. Whether the workers coped is not its concern."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.faults.plan import EXPIRIES, KEY_LIFETIME, SILENCE, Fault, Link
from tests.faults.proxy import Mode
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from tests.faults.messages import Message
    from tests.faults.plan import Action
    from tests.faults.world import World

#: So long the workers may take to begin with what was sent into the silence.
_BEGIN_SECONDS: Final = 8.0
_PAUSE: Final = 0.05

_MODES: Final = {Fault.REFUSE: Mode.REFUSE, Fault.HOLE: Mode.HOLE, Fault.DELAY: Mode.DELAY}


@dataclass(frozen=True, slots=True)
class Deed:
    """A fault that took place, by `time.monotonic`."""

    kind: str
    began_at: float
    ended_at: float


class Nemesis:
    """Carries out the actions of a run; `began` is the wall clock's start of it."""

    def __init__(self, world: World, *, began: datetime) -> None:
        self._world = world
        self._began = began
        self._began_at = time.monotonic()
        self._one_node = asyncio.Lock()
        self._one_ledger = asyncio.Lock()
        self._published: list[Message] = []
        self.deeds: list[Deed] = []
        self._deeds: Mapping[Fault, Callable[[Action], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.TERMINATE: self._terminate,
            Fault.PAUSE: self._pause,
            Fault.LONG_PAUSE: self._pause,
            Fault.BROKER_KILL: self._kill_broker,
            Fault.LEADER_KILL: self._kill_broker,
            Fault.LEDGER_KILL: self._kill_ledger,
            Fault.CUT: self._cut,
            Fault.REFUSE: self._hinder,
            Fault.HOLE: self._hinder,
            Fault.DELAY: self._hinder,
            Fault.OUTAGE: self._take_provider_away,
            Fault.REVOKE: self._revoke,
            Fault.REPLAY: self._replay,
            Fault.TOKENS: self._revoke_tokens,
            Fault.KEYS: self._change_keys,
            Fault.EXPIRY_DEAD: self._expire_dead,
            Fault.EXPIRY_CUT: self._expire_cut,
        }

    async def run(self) -> None:
        """Publish and break, each at its time, until everything planned is done."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_all())
            group.create_task(self._bring_cash())
            group.create_task(self._break_all())

    async def replay(self) -> None:
        """Publish everything once more that was published so far."""
        for message in list(self._published):
            await self._send(message)

    async def expire_and_replay(self) -> None:
        """Make the provider forget every key, and publish everything once more.

        Only once all is over: a call on its way would be carried out twice, whoever made it.
        """
        began_at = time.monotonic()
        self._world.stand.put_clock_forward(KEY_LIFETIME)
        await self.replay()
        self._note(Fault.EXPIRY_END, began_at)

    async def publish(self, message: Message) -> None:
        """Publish one message, and remember it for replays."""
        self._published.append(message)
        await self._send(message)

    async def _publish_all(self) -> None:
        for message in self._world.plan.messages:
            await self._until(message.at)
            await self.publish(message)

    async def _bring_cash(self) -> None:
        coming = [m.cash for m in self._world.plan.all_messages if m.cash is not None]
        for cash in sorted(coming, key=lambda cash: cash.at):
            await self._until(cash.at)
            self._world.stand.pay_in(cash)

    async def _break_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            running: list[asyncio.Task[None]] = []
            for action in self._world.plan.actions:
                if action.fault is Fault.EXPIRY_END:
                    # Not ours to begin: everything has to be over first.
                    continue
                await self._until(action.at)
                if action.fault in EXPIRIES:
                    # It must be alone: what it does to the clock is fair only while no call is on
                    # its way and nobody sleeps with one in hand.
                    if running:
                        await asyncio.wait(running)
                    await self._carry_out(action)
                else:
                    running.append(group.create_task(self._carry_out(action)))

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self._began_at + at - time.monotonic()))

    async def _carry_out(self, action: Action) -> None:
        began_at = time.monotonic()
        await self._deeds[action.fault](action)
        self._note(action.kind, began_at)

    def _note(self, kind: str, began_at: float) -> None:
        self.deeds.append(Deed(kind, began_at, time.monotonic()))

    async def _kill(self, action: Action) -> None:
        places = self._world.whom(action.worker)
        await asyncio.gather(*(place.kill() for place in places))
        await asyncio.sleep(action.seconds)
        await asyncio.gather(*(place.start() for place in places))

    async def _terminate(self, action: Action) -> None:
        places = self._world.whom(action.worker)
        await asyncio.gather(*(place.terminate() for place in places))
        await asyncio.gather(*(place.start() for place in places))

    async def _pause(self, action: Action) -> None:
        places = self._world.whom(action.worker)
        for place in places:
            place.pause()
        await asyncio.sleep(action.seconds)
        for place in places:
            place.resume()

    async def _kill_broker(self, action: Action) -> None:
        broker = self._world.ground.broker
        # One after the other: of three nodes, two have to live.
        async with self._one_node:
            await broker.kill()
            await asyncio.sleep(action.seconds)
            await broker.restart()

    async def _kill_ledger(self, action: Action) -> None:
        postgres = self._world.ground.postgres
        # A server that is just starting cannot be stopped: the next kill waits for it.
        async with self._one_ledger:
            await asyncio.to_thread(postgres.kill)
            await asyncio.sleep(action.seconds / 2)
            await asyncio.to_thread(postgres.start)

    async def _hinder(self, action: Action) -> None:
        proxies = self._world.proxies(action.link, action.worker)
        for proxy in proxies:
            await proxy.set(_MODES[action.fault], delay=action.by)
        await asyncio.sleep(action.seconds)
        for proxy in proxies:
            await proxy.set(Mode.OPEN)

    async def _cut(self, action: Action) -> None:
        for proxy in self._world.proxies(action.link, action.worker):
            await proxy.cut()

    async def _take_provider_away(self, action: Action) -> None:
        self._world.stand.set_faults(Faults(outage=True))
        await asyncio.sleep(action.seconds)
        self._world.stand.set_faults(self._world.plan.temper.faults)

    async def _replay(self, _action: Action) -> None:
        await self.replay()

    async def _revoke(self, action: Action) -> None:
        self._world.stand.refuse_credentials(refused=True)
        await asyncio.sleep(action.seconds)
        self._world.stand.refuse_credentials(refused=False)

    async def _revoke_tokens(self, _action: Action) -> None:
        self._world.stand.revoke_tokens()

    async def _change_keys(self, _action: Action) -> None:
        self._world.stand.change_webhook_key()

    async def _expire_dead(self, action: Action) -> None:
        """Kill every worker amid silent calls, and start them when the keys are forgotten."""
        await self._fall_silent(action)
        await asyncio.gather(*(place.kill() for place in self._world.places))
        await self._forget_keys(action)
        await asyncio.gather(*(place.start() for place in self._world.places))

    async def _expire_cut(self, action: Action) -> None:
        """Cut everybody off from the provider amid silent calls, until the keys are forgotten."""
        await self._fall_silent(action)
        proxies = self._world.proxies(Link.PROVIDER, None)
        for proxy in proxies:
            await proxy.set(Mode.REFUSE)
        await self._forget_keys(action)
        for proxy in proxies:
            await proxy.set(Mode.OPEN)

    async def _fall_silent(self, action: Action) -> None:
        """Answer no create call any more, and wait until some were made."""
        stand = self._world.stand
        stand.set_faults(SILENCE)
        wanted = stand.creates + len(action.messages) // 2
        for message in action.messages:
            await self.publish(message)
        deadline = time.monotonic() + _BEGIN_SECONDS
        while (  # noqa: ASYNC110 - the simulator counts, and tells nobody
            stand.creates < wanted and time.monotonic() < deadline
        ):
            await asyncio.sleep(_PAUSE)

    async def _forget_keys(self, action: Action) -> None:
        """Wait until no worker may send an old key any more, then make the provider forget it.

        Only the provider's clock is put forward: by the workers' own clock the window is over.
        """
        await asyncio.sleep(action.seconds)
        self._world.stand.put_clock_forward(KEY_LIFETIME)
        self._world.stand.set_faults(self._world.plan.temper.faults)

    async def _send(self, message: Message) -> None:
        if message.cancels is not None:
            await self._world.client.cancel(message.message_id or "", message.body)
            return
        await self._world.client.publish(
            message.message_id,
            message.rendered(self._began),
            content_type=message.content_type,
            content_encoding=message.content_encoding,
        )
