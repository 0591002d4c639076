"""Programs that are ended for certain, the folder that is held by them, and what Ctrl-C does.

Each program holds the writing end of a pipe: the test reads its word that it is up, and then the
end of the pipe, which comes when all who hold it are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Final

import pytest

from worker.demo.folder import Folder, FolderTaken
from worker.demo.processes import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UP: Final = b"up\n"
ORDERLY: Final = "up(); time.sleep(600)"
STUBBORN: Final = "signal.signal(signal.SIGTERM, signal.SIG_IGN); up(); time.sleep(600)"
PARENT: Final = """
if os.fork() == 0:
    up()
time.sleep(600)
"""


class Watched:
    """A program that runs a few lines, and the reading end of the pipe it holds."""

    def __init__(self, folder: Path, lines: str) -> None:
        self._reading, self._writing = os.pipe()
        begin = f"import os, signal, sys, time\ndef up(): os.write({self._writing}, b'up\\n')\n"
        self.program = Program(
            "program",
            [sys.executable, "-c", begin + lines],
            log=folder / "program.log",
            environ=os.environ,
            kept_open=[self._writing],
        )

    def start(self) -> None:
        """Start the program; returns once it has said that it is up."""
        self.program.start()
        os.close(self._writing)
        assert os.read(self._reading, 10) == UP

    def is_gone(self) -> bool:
        """Wait until nobody holds the pipe any more."""
        return os.read(self._reading, 10) == b""

    def close(self) -> None:
        """Let go of the pipe, and of the program if it is still there."""
        self.program.kill()
        os.close(self._reading)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A demo's folder."""
    folder = Folder.claim(tmp_path)
    yield folder
    folder.remove()


def watched(folder: Path, lines: str) -> Watched:
    """A program that is up."""
    program = Watched(folder, lines)
    program.start()
    return program


def test_a_program_ends_by_itself_when_asked(tmp_path: Path) -> None:
    """
    SIGTERM is enough for a program that heeds it.
    """
    watch = watched(tmp_path, ORDERLY)

    assert -signal.SIGTERM == watch.program.stop(seconds=30)
    assert watch.is_gone()
    watch.close()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """
    It gets its time, and then SIGKILL.
    """
    watch = watched(tmp_path, STUBBORN)

    assert -signal.SIGKILL == watch.program.stop(seconds=0.2)
    assert watch.is_gone()
    watch.close()


@pytest.mark.parametrize("end", [Program.stop, Program.kill])
def test_nothing_that_a_program_started_is_left(tmp_path: Path, end: object) -> None:
    """
    A child that outlives its parent is ended with it.
    """
    watch = watched(tmp_path, PARENT)
    end(watch.program)  # type: ignore[operator]

    assert watch.is_gone()
    watch.close()


def test_a_program_that_ended_by_itself_is_noticed(tmp_path: Path) -> None:
    """
    Its last words and its exit code tell why; ending it again does no harm.
    """
    watch = watched(tmp_path, "up(); print('\\n'.join('abcdefghijklmn')); sys.exit(3)")
    while not watch.program.has_ended:
        time.sleep(0.01)

    assert list("efghijklmn") == watch.program.last_words().splitlines()
    assert 3 == watch.program.stop()
    assert watch.program.stop() is None
    watch.close()


def test_a_second_demo_finds_the_folder_taken(tmp_path: Path, folder: Folder) -> None:
    """
    It says where the first one is and how to end it.
    """
    folder.note([11, 22])

    with pytest.raises(FolderTaken, match="kill") as taken:
        Folder.claim(tmp_path)
    assert f"kill $(cat {folder.path}/pids)" == taken.value.stop
    assert "11\n22\n" == (folder.path / "pids").read_text()


def test_a_folder_is_taken_as_long_as_its_programs_live(tmp_path: Path) -> None:
    """
    Programs that outlive the command hold the folder for it; with the last of them it is free.
    """
    folder = Folder.claim(tmp_path)
    program = Program(
        "program",
        [sys.executable, "-c", "import time; time.sleep(600)"],
        log=folder.path / "program.log",
        environ=os.environ,
        kept_open=[folder.lock],
    )
    program.start()
    folder.release()

    with pytest.raises(FolderTaken):
        Folder.claim(tmp_path)
    program.kill()
    Folder.claim(tmp_path).remove()


def test_what_an_earlier_demo_left_is_cleared(tmp_path: Path) -> None:
    """
    Logs that were left for reading are gone when the next demo begins.
    """
    folder = Folder.claim(tmp_path)
    (folder.path / "worker.log").touch()
    (folder.path / "rabbitmq").mkdir()
    folder.release()
    folder = Folder.claim(tmp_path)

    assert ["lock"] == [path.name for path in folder.path.iterdir()]
    folder.remove()
    assert not folder.path.exists()


def run(lines: str) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a Python of its own, which may send signals to itself."""
    begin = """
        import os, signal, subprocess, sys, time
        from worker.demo.interrupts import Interrupts
        from worker.demo.processes import kill_children

        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_first_interrupt_raises_and_the_second_ends_at_once() -> None:
    """
    Between the two the cleaning up is under way, and is not to be finished.
    """
    done = run(
        """
        with Interrupts(lambda: print("at once", flush=True)) as interrupts:
            try:
                with interrupts.raising():
                    interrupt()
            except KeyboardInterrupt:
                print("first", flush=True)
            interrupt()
            print("never")
        """
    )

    assert (1, "first\nat once\n", "") == (done.returncode, done.stdout, done.stderr)


def test_an_interrupt_while_cleaning_up_changes_nothing() -> None:
    """
    The first one outside the block is only counted.
    """
    done = run(
        """
        with Interrupts(lambda: print("at once")) as interrupts:
            with interrupts.raising():
                pass
            interrupt()
            print("cleaned up")
        """
    )

    assert (0, "cleaned up\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_inside_a_loop_an_interrupt_calls_back(name: str) -> None:
    """
    Where raising would tear a loop apart, the loop is told instead; each of the signals does it.
    """
    done = run(
        f"""
        with Interrupts(lambda: None) as interrupts, interrupts.raising():
            with interrupts.calling(lambda: print("called")):
                os.kill(os.getpid(), signal.{name})
        """
    )

    assert (0, "called\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_child_that_nobody_noted_is_killed() -> None:
    """
    Whatever was started between two steps is found among the children.
    """
    done = run(
        """
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        kill_children()
        print(child.poll() is None)
        """
    )

    assert (0, "False\n", "") == (done.returncode, done.stdout, done.stderr)
