"""`check --books`: where all the money that was asked for is, and which rows somebody altered.

Prints only; what is compared with what stands in the ledger's `books`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.cli.settings import FAILED, failing
from worker.ledger.books import Alteration, audit
from worker.ledger.migrate import require_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.ledger.books import Balance, Books, Sum

_UNREAD: Final = "not known"


def check_books(url: str, *, as_json: bool) -> None:
    """Recompute the books of the ledger at `url` and print them; exit with 1 when they do not hold.

    Alterations are printed as they are found, but for JSON, which is one document.
    """
    listed: list[Alteration] = []
    with failing():
        books = asyncio.run(_audit(url, listed.append if as_json else _print_alteration))
    if as_json:
        typer.echo(json.dumps(_document(books, listed), indent=2))
    else:
        _print(books)
    if not books.hold:
        raise typer.Exit(FAILED)


async def _audit(url: str, found: Callable[[Alteration], None]) -> Books:
    await require_schema(url)
    return await audit(url, found=found)


def _print_alteration(alteration: Alteration) -> None:
    name = alteration.message_id or "a withdrawal without its row"
    typer.echo(f"ALTERED {_printable(name)}: {alteration.what}")


def _print(books: Books) -> None:
    for balance in books.balances:
        name = f"{balance.provider or _UNREAD} {balance.currency or _UNREAD}"
        typer.echo(f"{'ok  ' if balance.holds else 'FAIL'} {_printable(name)}")
        for what, total in _lines(balance):
            typer.echo(f"     {_printable(what):24} {total.count:12} {total.amount:20.2f}")
    checked = ", ".join(
        f"{count} {what.replace('_', ' ')}" for what, count in books.checked.items()
    )
    altered = f"{books.altered} altered" if books.altered else "nothing was altered"
    balanced = all(balance.holds for balance in books.balances)
    verdict = "the books balance" if balanced else "THE BOOKS DO NOT BALANCE"
    typer.echo(f"checked {checked}: {verdict}, {altered}")


def _lines(balance: Balance) -> Iterator[tuple[str, Sum]]:
    yield "taken", balance.taken
    for status, total in balance.finished.items():
        yield f"finished, {status}", total
    yield "in flight", balance.in_flight
    yield "unresolved", balance.unresolved
    yield "dead-lettered", balance.dead_lettered
    yield "difference", balance.difference
    if not balance.miscounted.is_zero:
        yield "counters less rows", balance.miscounted


def _document(books: Books, altered: list[Alteration]) -> dict[str, Any]:
    return {
        "holds": books.hold,
        "checked": dict(books.checked),
        "balances": [_balance(balance) for balance in books.balances],
        "altered": [{"message_id": one.message_id, "what": one.what} for one in altered],
    }


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "provider": balance.provider,
        "currency": balance.currency,
        "taken": _sum(balance.taken),
        "finished": {status: _sum(total) for status, total in balance.finished.items()},
        "in_flight": _sum(balance.in_flight),
        "unresolved": _sum(balance.unresolved),
        "dead_lettered": _sum(balance.dead_lettered),
        "difference": _sum(balance.difference),
        "counters_less_rows": _sum(balance.miscounted),
    }


def _sum(total: Sum) -> dict[str, Any]:
    return {"count": total.count, "amount": f"{total.amount:.2f}"}


def _printable(text: str) -> str:
    """Keep what somebody wrote into the tables from steering the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
