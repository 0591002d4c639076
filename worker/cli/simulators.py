"""`simulate` with a command for each provider."""

from __future__ import annotations

from worker.cli.simulate import simulate
from worker.cli.simulate_upvest import HELP, simulate_upvest

__all__ = ["simulate"]

simulate.command(name="upvest", help=HELP)(simulate_upvest)
