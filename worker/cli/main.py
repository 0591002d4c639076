"""All commands, gathered (contract section 8); each is imported when it is asked for.

So the start of a worker does not import the demo and the simulators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

#: Where each command stands, in the order in which they are listed: a module, and a name in it.
_PLACES: Final = {
    "run": ("run", "run"),
    "demo": ("demo", "demo"),
    "check": ("check", "check"),
    "migrate": ("run", "migrate"),
    "submit": ("submit", "submit"),
    "cancel": ("cancel", "cancel"),
    "show": ("show", "show"),
    "list": ("list", "list_"),
    "resolve": ("resolve", "resolve"),
    "reconcile": ("reconcile", "reconcile"),
    "restored": ("restored", "restored"),
    "asyncapi": ("asyncapi", "asyncapi"),
    "dead-letters": ("dead_letters", "dead_letters"),
    "webhooks": ("webhooks", "webhooks"),
    "simulate": ("simulators", "simulate"),
}


class _Commands(Mapping[str, Any]):
    """The commands by name, made from their modules when they are taken out."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - typer keeps its own types to itself
        module, attribute = _PLACES[name]
        found = getattr(import_module(f"worker.cli.{module}"), attribute)
        alone = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            alone.add_typer(found)
        else:
            alone.command(name)(found)
        return get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


class _Gathered(TyperGroup):
    """The group that has them."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - whatever typer gives a group
        super().__init__(**attributes)
        # None is ever added to it.
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    cls=_Gathered,
    name="withdrawals-worker",
    help="Pays out withdrawal requests from RabbitMQ through a provider, once and only once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _app() -> None:
    """Make it a group, which it is to typer by its commands alone."""


def main() -> None:
    """Run the command line; never returns."""
    app()
