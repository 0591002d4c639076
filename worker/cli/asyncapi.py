"""`asyncapi`: the worker's messages as a document that tools and other teams read."""

from __future__ import annotations

import json
from importlib.metadata import version

import typer

from worker.app.asyncapi import document


def asyncapi() -> None:
    """Print the messages that the worker takes and sends as AsyncAPI 3.0, in JSON.

    It needs no settings and asks nobody.
    """
    typer.echo(json.dumps(document(version("withdrawals-worker")), indent=2, ensure_ascii=False))
