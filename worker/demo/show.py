"""The demo from beginning to end: set up, play, judge, and leave nothing behind.

Everything that is started is ended here, however the way led there."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import aiohttp
from aio_pika.exceptions import AMQPError

from worker.demo.folder import Folder, FolderTaken, stop_command
from worker.demo.interrupts import Interrupts
from worker.demo.play import play
from worker.demo.processes import kill_children
from worker.demo.rabbitmq_node import HOW_TO_GET_RABBITMQ, DockerRabbitmq, NodeFailed
from worker.demo.rabbitmq_source import Machine, obtain_rabbitmq
from worker.demo.screen import Screen, open_screen
from worker.demo.stage import Stage, StageFailed
from worker.demo.summary import addresses, summary

if TYPE_CHECKING:
    from pathlib import Path

    from worker.demo.verdict import Verdict

HOLDS: Final = 0
FAILED: Final = 1
CANNOT_BEGIN: Final = 2

#: What can go wrong around us; anything else is a mistake of ours and shows its trace.
_FAILURES: Final = (StageFailed, NodeFailed, OSError, aiohttp.ClientError, AMQPError, TimeoutError)


class _CannotBegin(Exception):  # noqa: N818 - named by what is the case
    """The demo cannot begin; the message says what to do about it."""


def show(parent: Path, *, keep: bool, machine: Machine) -> int:
    """Run the demo in a folder below `parent`; return the exit code.

    0 when the verdict holds, 1 when it does not or something failed, 2 when the demo cannot begin.
    With `keep` everything is left running.
    """
    demo = _Demo(parent, open_screen(), machine, keep=keep)
    with Interrupts(demo.end_at_once) as interrupts:
        try:
            with interrupts.raising():
                return demo.run(interrupts)
        except KeyboardInterrupt:
            demo.say("interrupted, ending everything (once more: at once)")
            return FAILED
        except _CannotBegin as reason:
            demo.say(str(reason))
            return CANNOT_BEGIN
        except _FAILURES as failure:
            demo.say(f"failed: {str(failure) or type(failure).__name__}")
            demo.keep_logs = True
            return FAILED
        except Exception:
            demo.keep_logs = True
            raise
        finally:
            demo.end()


class _Demo:
    """One demo and what of it exists so far; `end` may be called at any time."""

    def __init__(self, parent: Path, screen: Screen, machine: Machine, *, keep: bool) -> None:
        self.keep_logs = False
        self.say = screen.say
        self._parent = parent
        self._screen = screen
        self._machine = machine
        self._keep = keep
        self._keep_running = False
        self._folder: Folder | None = None
        self._stage: Stage | None = None

    def run(self, interrupts: Interrupts) -> int:
        """Set up, play, judge; return the exit code."""
        try:
            self._folder = Folder.claim(self._parent)
        except FolderTaken as taken:
            raise _CannotBegin(str(taken)) from None
        self._stage = self._set_up(self._folder)
        verdict = self._perform(self._stage, interrupts)
        self._screen.show("", summary(verdict), "")
        self._keep_running = self._keep
        self.keep_logs = not verdict.holds
        return HOLDS if verdict.holds else FAILED

    def end(self) -> None:
        """End and remove everything, but for what is to be kept."""
        if self._keep_running and self._stage is not None:
            self._hand_over(self._stage)
            return
        if self._stage is not None:
            self._stage.stop()
        kill_children()
        if self._folder is not None and self.keep_logs:
            self.say(f"the logs are in {self._folder.path}")
            self._folder.release()
        elif self._folder is not None:
            self._folder.remove()

    def end_at_once(self) -> None:
        """End and remove everything without asking anybody."""
        if self._stage is not None:
            self._stage.kill()
        kill_children()
        if self._folder is not None:
            self._folder.remove()
        self._screen.restore()

    def _set_up(self, folder: Folder) -> Stage:
        broker = obtain_rabbitmq(self._machine, folder.path, self.say)
        if broker is None:
            raise _CannotBegin(HOW_TO_GET_RABBITMQ)
        stage = self._stage = Stage(folder, broker)
        self.say("RabbitMQ: starting a private node, which takes some seconds")
        try:
            broker.start()
        except (NodeFailed, OSError) as failure:
            if isinstance(broker, DockerRabbitmq):
                raise _CannotBegin(f"{failure}\n{HOW_TO_GET_RABBITMQ}") from None
            raise
        stage.note_pids(os.getpid())
        self.say(f"RabbitMQ: ready at {broker.url}")
        return stage

    def _perform(self, stage: Stage, interrupts: Interrupts) -> Verdict:
        try:
            return asyncio.run(self._play(stage, interrupts))
        except asyncio.CancelledError:
            # Only an interrupt cancels.
            raise KeyboardInterrupt from None

    async def _play(self, stage: Stage, interrupts: Interrupts) -> Verdict:
        loop = asyncio.get_running_loop()
        course = asyncio.create_task(self._course(stage))
        # The signal comes in the middle of whatever the loop is doing, so the loop is only told.
        with interrupts.calling(lambda: loop.call_soon_threadsafe(course.cancel)):
            return await course

    async def _course(self, stage: Stage) -> Verdict:
        seconds = await stage.start_simulators()
        names = ", ".join(stage.simulators)
        self.say(f"simulators: ready after {seconds:.1f} s ({names})")
        seconds = await stage.start_worker()
        self.say(f"worker: ready after {seconds:.1f} s")
        return await play(stage, self._screen, keep=self._keep)

    def _hand_over(self, stage: Stage) -> None:
        """Leave everything running, and say where it is."""
        stage.note_pids()
        stage.folder.release()
        stop = stop_command(stage.folder.path)
        if isinstance(stage.broker, DockerRabbitmq):
            stop = f"{stop}; docker stop {stage.broker.container}"
        named = {
            "RabbitMQ": stage.broker.url,
            **{each.company.title: each.api_url for each in stage.simulators.values()},
            "Their records": next(iter(stage.simulators.values())).record_url + " and the like",
            "Worker": f"{stage.probes_url}/readyz",
            "Metrics": f"{stage.probes_url}/metrics",
            "Webhooks": stage.webhooks_url,
            "Ledger": str(stage.ledger),
            "Logs": str(stage.folder.path),
            "To end it": stop,
        }
        self._screen.show("Left running:", addresses(named))
