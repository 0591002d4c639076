"""What a person sees during the run: a live table in a terminal, a line a step elsewhere.

Only shows; what is shown is decided by the story."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console
from rich.live import Live

from worker.demo.table import standing, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from rich.console import RenderableType

    from worker.demo.story import Story

_FRAME_SECONDS: Final = 0.25


class Screen(Protocol):
    """Where the demo shows itself."""

    def say(self, line: str) -> None:
        """Say one step in a line."""
        ...

    def show(self, *parts: RenderableType) -> None:
        """Show something whole, such as the summary."""
        ...

    def showing(self, story: Story) -> AbstractAsyncContextManager[None]:
        """Show the story as it grows, while the block lasts."""
        ...

    def restore(self) -> None:
        """Leave the terminal as it was found; for an end at once."""
        ...


def open_screen() -> Screen:
    """Return the screen that fits standard output."""
    # Asked ourselves: rich would write control codes into a file where FORCE_COLOR is set.
    is_terminal = sys.stdout.isatty()
    console = Console(force_terminal=is_terminal, highlight=False, emoji=False, markup=False)
    if is_terminal and not console.is_dumb_terminal:
        return Terminal(console)
    return Lines(console)


class Lines:
    """Plain lines, each with the seconds since the beginning; no control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()

    def say(self, line: str) -> None:
        """Say one step in a line."""
        seconds = time.monotonic() - self._begun
        self._console.print(f"{seconds:5.1f} s  {line}", soft_wrap=True)

    def show(self, *parts: RenderableType) -> None:
        """Show something whole."""
        for part in parts:
            # Not cut: an address may be longer than the terminal is wide.
            self._console.print(part, crop=False)

    @asynccontextmanager
    async def showing(self, story: Story) -> AsyncIterator[None]:
        """Say of each scenario how it has ended, once it has."""
        told: set[str] = set()
        ticker = asyncio.create_task(self._tell_news(story, told))
        try:
            yield
        finally:
            await _end(ticker)
            self._tell(story, told)

    def restore(self) -> None:
        """Nothing was changed."""

    async def _tell_news(self, story: Story, told: set[str]) -> None:
        while True:
            self._tell(story, told)
            await asyncio.sleep(_FRAME_SECONDS)

    def _tell(self, story: Story, told: set[str]) -> None:
        for found in story.outcomes:
            if found.is_settled and found.title not in told:
                told.add(found.title)
                self.say(f"{found.title}: {standing(found).plain}")


class Terminal(Lines):
    """The same steps, and below them a table that is drawn anew four times a second."""

    @asynccontextmanager
    async def showing(self, story: Story) -> AsyncIterator[None]:
        """Show the table while the block lasts; its last state stays."""
        with Live(table(story), console=self._console, auto_refresh=False) as live:
            ticker = asyncio.create_task(_redraw(live, story))
            try:
                yield
            finally:
                await _end(ticker)
                live.update(table(story), refresh=True)

    def restore(self) -> None:
        """Show the cursor again."""
        self._console.show_cursor(show=True)


async def _redraw(live: Live, story: Story) -> None:
    while True:
        live.update(table(story), refresh=True)
        await asyncio.sleep(_FRAME_SECONDS)


async def _end(ticker: asyncio.Task[None]) -> None:
    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker
