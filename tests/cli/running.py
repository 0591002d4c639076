"""Runs commands as a terminal does, but in this very process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from worker.cli.main import app


class Commands:
    """Runs commands with an environment of their own, in an empty folder."""

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, stdin: str | None = None, **more: str) -> Result:
        """Run one command to its end."""
        environment = {"COLUMNS": "200"} | self.environment | more
        return CliRunner().invoke(app, arguments, input=stdin, env=environment)
