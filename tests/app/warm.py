"""Programs of ours that start in a fraction of a second, since most of a start is imports.

Each is a process of its own that does what `python -m` does; it is forked from one that has the
worker's modules imported already, and that nothing has been done with yet."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.context import ForkServerProcess

_FORKED = multiprocessing.get_context("forkserver")
# The first start is as slow as any other; it begins the process that the rest are forked from.
# The dialects are what a ledger imports when its first engine is made.
_FORKED.set_forkserver_preload(
    [
        __name__,
        "worker.cli.main",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.pysqlite",
        "asyncpg",
    ]
)

#: No command of a test runs longer.
_SECONDS_MAX: Final = 90


class WarmProcess:
    """One worker with this environment; its output is appended to a file. Started by `started`.

    `program` is the module that is run as `python -m` would, with `run` as its only argument. To be
    used like a process of asyncio's.
    """

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @classmethod
    async def started(
        cls, environment: Mapping[str, str], log: Path, *, program: str = "worker"
    ) -> Self:
        """Start one; it may not be ready yet."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with _nothing() as nothing, _opened(log, flags) as output:
            process = _forked(program, ["run"], environment, (nothing, output, output))
            await asyncio.to_thread(process.start)
        return cls(process)

    @property
    def pid(self) -> int:
        """Which process it is."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal; raises ProcessLookupError when it is gone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would; it may not be gone yet."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended; return how. Only one may wait at a time."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            while (code := self.returncode) is None:
                await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        return code


class WarmCommand(WarmProcess):
    """One `python -m worker …` that ends by itself; its output comes through pipes."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @classmethod
    async def begun(
        cls, *arguments: str, environment: Mapping[str, str], stdin: int | None = None
    ) -> Self:
        """Start one; `stdin` is the descriptor that it reads, without it there is nothing to read.

        It is to be waited for by `communicate`.
        """
        (stdout, written), (stderr, told) = os.pipe(), os.pipe()
        try:
            with _nothing() as nothing:
                streams = nothing if stdin is None else stdin, written, told
                process = _forked("worker", arguments, environment, streams)
                await asyncio.to_thread(process.start)
        finally:
            os.close(written)
            os.close(told)
        command = cls(process)
        command.stdout, command.stderr = await _reader(stdout), await _reader(stderr)
        return command

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end; return what of its output was not read yet, and of its errors."""
        output, errors = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return output, errors


def run_warm(
    *arguments: str,
    environment: Mapping[str, str],
    stdin: int | None = None,
    stderr: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m worker …` to its end.

    It reads from `stdin`, or nothing, and writes its errors to `stderr`, or they are returned with
    its output.
    """
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        _nothing() as nothing,
    ):
        streams = (
            nothing if stdin is None else stdin,
            output.fileno(),
            errors.fileno() if stderr is None else stderr,
        )
        process = _forked("worker", arguments, environment, streams)
        process.start()
        process.join(_SECONDS_MAX)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, _SECONDS_MAX)
        for written in (output, errors):
            written.seek(0)
        return subprocess.CompletedProcess(
            arguments, process.exitcode, output.read(), errors.read()
        )


@contextmanager
def warm_simulator(*options: str) -> Iterator[str]:
    """Run `simulate bluum` with these options on a free port; yields its base URL."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as output, _nothing() as nothing:
        arguments = ("simulate", "bluum", "--port", "0", *options)
        process = _forked("worker", arguments, os.environ, (nothing, theirs, nothing))
        process.start()
        os.close(theirs)
        try:
            yield output.readline().split()[-1]
        finally:
            process.terminate()
            process.join(_SECONDS_MAX)


@contextmanager
def _opened(path: Path | str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _nothing() -> Any:  # noqa: ANN401 - a context of a descriptor
    return _opened(os.devnull, os.O_RDWR)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    return reader


def _forked(
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
) -> ForkServerProcess:
    given = (program, arguments, dict(environment), _Streams(*streams), Path.cwd())
    return _FORKED.Process(target=_live, args=given)


class _Streams:
    """The descriptors of input, output and errors, which are others in each process."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors

    def __getstate__(self) -> list[Any]:
        return [DupFd(descriptor) for descriptor in self.descriptors]

    def __setstate__(self, sent: list[Any]) -> None:
        self.descriptors = tuple(one.detach() for one in sent)


def _live(
    program: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    streams: _Streams,
    folder: Path,
) -> None:
    """Become what `python -m` would: in the forked process, which ends when this does."""
    # What was imported is no garbage: the first look for some would go through it, and copy it.
    gc.freeze()
    os.setsid()
    for number, descriptor in enumerate(streams.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
