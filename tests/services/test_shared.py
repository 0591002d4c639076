"""What all processes of a run share: started once, ended after the last that uses it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from tests.services.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_it_is_started_once_and_ended_after_the_last(tmp_path: Path) -> None:
    """
    Who started it waits for the others; who comes after its end starts it anew.
    """
    notes: list[str] = []

    @contextmanager
    def start() -> Iterator[str]:
        notes.append("started")
        yield "here"
        notes.append("ended")

    first, later = ExitStack(), ExitStack()
    told = [each.enter_context(shared(tmp_path, start)) for each in (first, later)]
    ending = Thread(target=first.close)
    ending.start()
    # Time enough to end it, for one that does not wait.
    ending.join(0.1)
    notes.append("used")
    later.close()
    ending.join()
    with shared(tmp_path, start):
        notes.append("used again")

    assert ["here"] * 2 == told
    assert ["started", "used", "ended", "started", "used again", "ended"] == notes
