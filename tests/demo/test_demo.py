"""The command as a person runs it, with a real broker, simulator and worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import worker
from worker.demo.folder import NAME
from worker.demo.rabbitmq_node import HOW_TO_GET_RABBITMQ, Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Set-up and run take 25 seconds; a busy machine may take its time.
SECONDS_MAX: Final = 180
_GONE_SECONDS_MAX: Final = 30
_ROOT: Final = Path(worker.__file__).parent.parent
#: In the environment of all that a demo starts, to find it by.
_MARK: Final = "DEMO_UNDER_TEST"


@dataclass
class Demo:
    """A folder in which the demo is run."""

    folder: Path

    def start(self, *command: str, **environ: str) -> subprocess.Popen[str]:
        """Start the command, or another one in its place."""
        return subprocess.Popen(
            [sys.executable, *(command or ("-m", "worker", "demo"))],
            cwd=self.folder,
            env=self._environ(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, **environ: str) -> tuple[int, str]:
        """Run it to its end; return exit code and output."""
        process = self.start(*command, **environ)
        output, _ = process.communicate(timeout=SECONDS_MAX)
        return process.returncode, output

    @property
    def processes(self) -> list[str]:
        """The living processes that belong to it."""
        listing = subprocess.run(
            ["ps", "axeww", "-o", "pid=,stat=,command="], check=True, capture_output=True, text=True
        ).stdout
        return [
            line
            for line in listing.splitlines()
            if str(self.folder) in line and not line.split()[1].startswith("Z")
        ]

    @property
    def left(self) -> tuple[list[str], list[str]]:
        """What is left of it: processes and files."""
        return self.processes, [path.name for path in self.folder.iterdir()]

    def _environ(self, changes: Mapping[str, str]) -> dict[str, str]:
        ours = {name: text for name, text in os.environ.items() if name != "KEEP"}
        return {**ours, "PYTHONPATH": str(_ROOT), _MARK: str(self.folder), **changes}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo; what a failed test leaves of it is ended."""
    demo = Demo(tmp_path)
    yield demo
    for process in demo.processes:
        with suppress(ProcessLookupError):
            os.kill(int(process.split()[0]), signal.SIGKILL)


@pytest.mark.usefixtures("found_rabbitmq")
def test_it_ends_well_and_leaves_nothing_behind(demo: Demo) -> None:
    """
    Every promise holds though the worker was killed; no process, no file, no control code is left.
    """
    code, output = demo.run()

    assert (0, ([], [])) == (code, demo.left), output
    assert "killed (SIGKILL)" in output
    for told in ("by webhook in", "cancel refused", "forgery got 401", "shares sold", "taken back"):
        assert told in output
    for promise in ("P1", "P2", "P3"):
        assert any(line.startswith(promise) and "holds" in line for line in output.splitlines())
    assert "\x1b" not in output


@pytest.mark.usefixtures("found_rabbitmq")
def test_ctrl_c_in_the_middle_leaves_nothing_behind(demo: Demo) -> None:
    """
    Interrupted while the worker is down and requests are on their way, it cleans up and exits 1.
    """
    process = demo.start()
    assert process.stdout is not None
    before = next(line for line in process.stdout if "killed" in line)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS_MAX)

    assert (1, ([], [])) == (process.returncode, demo.left), before + output
    assert "interrupted" in output


@pytest.mark.usefixtures("found_rabbitmq")
def test_a_kept_demo_stays_until_it_is_told_to_end(demo: Demo) -> None:
    """
    KEEP=1 leaves all running, a second demo keeps away, and the command it prints ends everything.
    """
    code, output = demo.run(KEEP="1")
    lines = dict(line.split(maxsplit=1) for line in output.splitlines() if " http" in line)
    with urllib.request.urlopen(lines["Worker"].strip()) as answer:  # noqa: S310 - our own address
        ready = answer.status
    second, told = demo.run()
    stop = next(line for line in output.splitlines() if line.startswith("To end it"))
    subprocess.run(stop.removeprefix("To end it").strip(), shell=True, check=True)  # noqa: S602 - as a person would

    assert (0, 200, 2) == (code, ready, second)
    assert "A demo is there already" in told
    assert are_gone(demo)


@pytest.mark.parametrize(
    ("machine", "expected", "said"),
    [
        ('path="", is_root=False, find=lambda: None', 2, HOW_TO_GET_RABBITMQ),
        ('path="", is_root=False, find=lambda: Found(FALSE, FALSE, EPMD)', 1, "the logs are in"),
    ],
    ids=["none to be had", "does not start"],
)
def test_without_rabbitmq_it_says_why_and_ends(
    demo: Demo, found_rabbitmq: Found, machine: str, expected: int, said: str
) -> None:
    """
    Where there is none it tells how to get one and exits 2; one that fails is a failure with logs.
    """
    script = f"""
from pathlib import Path
from worker.demo.rabbitmq_node import Found
from worker.demo.rabbitmq_source import Machine
from worker.demo.show import show

FALSE, EPMD = Path("/bin/false"), Path({str(found_rabbitmq.epmd)!r})
raise SystemExit(show(Path.cwd(), keep=False, machine=Machine({machine})))
"""
    code, output = demo.run("-c", script)

    assert (expected, []) == (code, demo.processes)
    assert said in output
    assert (expected == 1) is (demo.folder / NAME).exists()


def are_gone(demo: Demo) -> bool:
    """Wait until no process of it is left: the broker takes its leave in its own time."""
    deadline = time.monotonic() + _GONE_SECONDS_MAX
    while demo.processes and time.monotonic() < deadline:
        time.sleep(0.1)
    return not demo.processes
