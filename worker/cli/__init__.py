"""The command line: options, one call, an exit code."""

from worker.cli.main import main

__all__ = ["main"]
