"""A worker that takes a key for forgotten after seconds: `python -m tests.faults.brisk run`.

The worker is the real one but for this. How long after the last call a provider has forgotten a key
for certain is no setting: below the provider's own memory, which lasts a day, a fresh attempt could
pay twice. In a run nothing is forgotten but by the nemesis, and never while the window of a key is
open: the last call leaves when it ends, and a moment later all are forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.app import house, parts
from worker.cli.main import main

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.core.schedule import Patience


def patience_of(settings: Settings) -> Patience:
    """Return the waiting times of the settings, and that one."""
    return replace(parts.patience_of(settings), forgotten=timedelta(seconds=1))


if __name__ == "__main__":
    vars(house)["patience_of"] = patience_of
    main()
