"""`resolve`: a person settles a withdrawal whose outcome could not be established.

Options, a question, one call, an exit code; whether a ruling can stand is decided in the core."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, assert_never

import typer

from config.logging import configure_logging
from worker.app import open_providers, patience_of
from worker.cli.settings import FAILED, WRONG_USE, failing, settings_or_exit
from worker.cli.show import document_of, print_document
from worker.core.answers import Listed
from worker.core.events import moment
from worker.core.limits import next_call_at
from worker.core.requests import is_printable
from worker.core.ruling import Adopt, Inadmissible, NotCreated, Ruling, unread
from worker.core.sale import OrdersListed, SaleStatus
from worker.core.sale_steps import doubtful
from worker.core.withdrawal import Status
from worker.flows.rulings import Findings, Rulings
from worker.ledger.migrate import require_schema
from worker.ledger.rows import at
from worker.ledger.store import open_ledger
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from config.settings import Settings
    from worker.core.change import Held
    from worker.core.sale import Sale
    from worker.core.withdrawal import Withdrawal
    from worker.flows.rulings import Candidate, OrderCandidate
    from worker.ledger.store import History, Ledger

#: The longest name of an operator, and the longest reason, in characters.
OPERATOR_MAX: Final = 100
REASON_MAX: Final = 1000

_RESTS: Final = (
    "no call leaves before {at}: until then the provider may still remember the key (rejected, if"
    " the request's own time ends before that)"
)


class _NotPossible(Exception):  # noqa: N818 - it says what cannot be done, in a sentence
    """There is nothing to settle, or nobody to ask."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of an unresolved withdrawal, in the ledger and at the provider."""

    history: History
    findings: Findings
    #: When a fresh attempt would leave that has to wait for its key to be forgotten; None: at once.
    fresh_at: datetime | None

    @property
    def last_call_at(self) -> datetime | None:
        """When the newest create call ended, or began where nobody saw its end."""
        moments = [row["ended_at"] or row["started_at"] for row in self.history.attempts]
        return at(max(moments)) if moments else None


def resolve(
    message_id: Annotated[str, typer.Argument(help="The request's message id.")],
    *,
    adopt: Annotated[
        str | None,
        typer.Option(
            metavar="WD_ID",
            help="This withdrawal at the provider is the one; or this order, where the doubt is"
            " about one that raises the cash. Of one that is sold: its proceeds are there.",
        ),
    ] = None,
    not_created: Annotated[
        bool,
        typer.Option(
            "--not-created",
            help="No withdrawal was made: send it once more. Of an order: it was not placed; of one"
            " that is sold, once the request is cancelled: end the request without its proceeds.",
        ),
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="Why, in your words; required for a ruling, and kept.")
    ] = None,
    operator: Annotated[
        str | None, typer.Option(help="Who you are; by default your name on this machine.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for scripts.")
    ] = False,
) -> None:
    """Settle a withdrawal that is unresolved, after showing what the provider lists.

    Without --adopt and --not-created it shows, and settles nothing.

    A running worker may share the ledger: it follows what was adopted, and sends the fresh attempt.
    Your reason is kept with your name in the history and is in no event.

    Exit codes: 0 settled or shown, 1 refused or not possible, 2 wrong use.
    """
    ruling = _ruling(adopt, operator, reason, not_created=not_created)
    if ruling is not None and not yes and not sys.stdin.isatty():
        _wrong_use("nothing done: without a terminal, confirm by --yes")
    settings = settings_or_exit()
    configure_logging("CRITICAL", "console")
    with _failing():
        case = asyncio.run(_inquire(settings, message_id))
    if ruling is None:
        _show(case, as_json=as_json)
        return
    if not as_json or not yes:
        _print(case, err=as_json)
        typer.echo(f"\n{_sentence(ruling, case)}", err=as_json)
    if not yes and not typer.confirm("\nSettle it so?", err=True):
        _fail("nothing was changed")
    with _failing():
        settled = asyncio.run(_settle(settings, case, ruling))
    if as_json:
        document = _document(case) | _settlement(ruling, settled, _rests_until(ruling, case))
        typer.echo(json.dumps(document, indent=2))
    if isinstance(settled, Inadmissible):
        _fail(f"{message_id} was not settled: {settled.why}")
    if not as_json:
        status = settled.withdrawal.status
        typer.echo(f"{message_id} is {status} now; the worker takes it from here")


def _ruling(
    adopt: str | None, operator: str | None, reason: str | None, *, not_created: bool
) -> Ruling | None:
    """Read the ruling from the options; None when none was given."""
    if adopt is not None and not_created:
        _wrong_use("expected either --adopt WD_ID or --not-created")
    if adopt is None and not not_created:
        return None
    name = _written("--operator", _own_name() if operator is None else operator, OPERATOR_MAX)
    note = _written("--reason", reason or "", REASON_MAX)
    return NotCreated(name, note) if adopt is None else Adopt(adopt, name, note)


def _written(option: str, text: str, limit: int) -> str:
    text = text.strip()
    if not text or len(text) > limit or not is_printable(text):
        _wrong_use(f"{option}: expected 1 to {limit} characters, without control characters")
    return text


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return ""


@contextmanager
def _failing() -> Iterator[None]:
    with failing():
        try:
            yield
        except _NotPossible as impossible:
            _fail(str(impossible))


async def _inquire(settings: Settings, message_id: str) -> _Case:
    """Read what the ledger knows and what the provider lists; nothing is changed."""
    async with _opened(settings) as ledger:
        history = await ledger.history(message_id)
        if history is None:
            raise _NotPossible(f"no request with the message id {message_id} is in the ledger")
        status = history.held.withdrawal.status
        if status is not Status.UNRESOLVED:
            raise _NotPossible(f"{message_id} is {status}: only an unresolved one can be settled")
        async with _rulings(settings, ledger, history.held) as rulings:
            findings = await rulings.find(history.held)
        now, patience = ledger.now(), patience_of(settings)
        fresh_at = next_call_at(history.held.withdrawal, now=now, patience=patience)
        return _Case(history, findings, fresh_at if fresh_at > now else None)


async def _settle(settings: Settings, case: _Case, ruling: Ruling) -> Held | Inadmissible:
    # What was shown is what is ruled on: if it has changed since, the ledger refuses the ruling.
    held = case.history.held
    async with _opened(settings) as ledger, _rulings(settings, ledger, held) as rulings:
        return await rulings.settle(held, ruling, last_call_at=case.last_call_at)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Ledger]:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    async with open_ledger(url) as ledger:
        await ledger.read_clock()
        yield ledger


@asynccontextmanager
async def _rulings(settings: Settings, ledger: Ledger, held: Held) -> AsyncIterator[Rulings]:
    async with AsyncExitStack() as stack:
        metrics = Metrics(version=version("withdrawals-worker"))
        # Without a tenure nothing can be created here, whatever else is done.
        providers = await open_providers(
            settings, metrics, stack, now=ledger.now, tenure=lambda: None, ledger=ledger
        )
        name = held.withdrawal.order.provider or ""
        if name not in providers:
            raise _NotPossible(f"the provider {name} is not enabled here: give its credentials")
        yield Rulings(
            provider=providers[name],
            ledger=ledger,
            now=ledger.now,
            patience=patience_of(settings),
        )


def _show(case: _Case, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_document(case), indent=2))
    else:
        _print(case, err=False)


def _print(case: _Case, *, err: bool) -> None:
    print_document(document_of(case.history), records=("attempts",), err=err)
    for line in ("", *_lines(case.findings)):
        typer.echo(line, err=err)


def _lines(findings: Findings) -> list[str]:
    if not isinstance(findings.answer, Listed | OrdersListed):
        return [f"the provider's list could not be read: {unread(findings.answer)}"]
    if not findings.candidates and not findings.orders:
        return ["the provider lists nothing that could be it"]
    lines = ["the provider lists what could be it"]
    lines += [_order_line(candidate) for candidate in findings.orders]
    for candidate in findings.candidates:
        facts = _candidate(candidate)
        words = [
            facts["withdrawal_id"],
            f"{facts['amount'] or '?'} {facts['currency'] or '?'}",
            facts["method"] or "-",
            f"created {facts['created_on'] or '?'}",
            facts["provider_status"] or "?",
            _signs(candidate),
        ]
        lines.append(f"  {'  '.join(words)}".rstrip())
    return lines


def _order_line(candidate: OrderCandidate) -> str:
    facts = _order(candidate)
    words = [
        facts["order_id"],
        f"{facts['quantity'] or facts['cash_amount'] or '?'} {facts['symbol'] or '?'}",
        f"sold {facts['filled_quantity'] or '?'}",
        f"created {facts['created_at'] or '?'}",
        facts["provider_status"] or "?",
        _signs(candidate, is_siblings=candidate.is_siblings),
    ]
    return f"  {'  '.join(words)}".rstrip()


def _signs(candidate: Candidate | OrderCandidate, *, is_siblings: bool = False) -> str:
    signs = [
        *["carries this request's reference"] * candidate.is_marked,
        *["is another order of this same request"] * is_siblings,
        *["belongs to another request"] * candidate.is_owned,
    ]
    return ", ".join(signs)


def _sentence(ruling: Ruling, case: _Case) -> str:
    sale = _sale(ruling, case.history.held.withdrawal)
    lines = [f"ruling of {ruling.operator}: {_what(ruling, sale)}", f"reason: {ruling.note}"]
    rests_until = _rests_until(ruling, case)
    if rests_until is not None:
        lines.append(_RESTS.format(at=rests_until))
    return "\n".join(lines)


def _rests_until(ruling: Ruling, case: _Case) -> str | None:
    """Return until when the fresh attempt of a ruling waits; None where none does, or none is."""
    is_fresh = isinstance(ruling, NotCreated) and doubtful(case.history.held.withdrawal) is None
    return moment(case.fresh_at) if is_fresh and case.fresh_at is not None else None


def _sale(ruling: Ruling, withdrawal: Withdrawal) -> Sale | None:
    """Return the order that a ruling is about, None where it is about the withdrawal itself."""
    named = ruling.withdrawal_id if isinstance(ruling, Adopt) else None
    index = doubtful(withdrawal, named)
    return None if index is None else withdrawal.sales[index]


def _what(ruling: Ruling, sale: Sale | None) -> str:
    """Say what a ruling leads to; `sale` is the order that it is about, None where it is none."""
    is_sold = sale is not None and sale.status is SaleStatus.UNSETTLED
    match ruling:
        case Adopt(withdrawal_id=order_id) if is_sold:
            return f"the proceeds of {order_id} are there: go on with the withdrawal"
        case Adopt(withdrawal_id=identity):
            return f"adopt {identity}, and follow it"
        case NotCreated() if sale is None:
            return "no withdrawal was made: begin a fresh attempt (rejected, if it is too late)"
        case NotCreated() if is_sold:
            return f"{sale.order_id} is given up: end the request, which is cancelled or too late"
        case NotCreated():
            return "the order was not placed: place it, unless the request is cancelled or too late"
        case _:  # pragma: no cover
            assert_never(ruling)


def _document(case: _Case) -> dict[str, Any]:
    answer = case.findings.answer
    orders = [_order(candidate) for candidate in case.findings.orders]
    return {
        "request": document_of(case.history),
        "list": {
            "problem": None if isinstance(answer, Listed | OrdersListed) else unread(answer),
            "candidates": [_candidate(candidate) for candidate in case.findings.candidates],
            **({"orders": orders} if orders else {}),
        },
    }


def _settlement(
    ruling: Ruling, settled: Held | Inadmissible, rests_until: str | None
) -> dict[str, Any]:
    problem = settled.why if isinstance(settled, Inadmissible) else None
    status = None if isinstance(settled, Inadmissible) else settled.withdrawal.status.value
    return {
        "ruling": {
            "adopt": ruling.withdrawal_id if isinstance(ruling, Adopt) else None,
            "not_created": isinstance(ruling, NotCreated),
            "operator": ruling.operator,
            "reason": ruling.note,
        },
        "settled": problem is None,
        "status": status,
        "fresh_attempt_not_before": rests_until if problem is None else None,
        "problem": problem,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """Return what may be shown of an entry: neither its target nor its text."""
    entry = candidate.entry
    return {
        "withdrawal_id": entry.reported.withdrawal_id,
        "amount": entry.amount,
        "currency": entry.currency,
        "method": entry.method,
        "created_on": None if entry.created_on is None else entry.created_on.isoformat(),
        "provider_status": entry.reported.provider_status,
        "is_owned_by_another": candidate.is_owned,
        "carries_reference": candidate.is_marked,
    }


def _order(candidate: OrderCandidate) -> dict[str, Any]:
    order = candidate.order
    return {
        "order_id": order.order_id,
        "symbol": order.symbol,
        "quantity": order.quantity,
        "cash_amount": order.cash_amount,
        "filled_quantity": order.filled_quantity,
        "created_at": None if order.created_at is None else moment(order.created_at),
        "provider_status": order.provider_status,
        "is_owned_by_another": candidate.is_owned,
        "is_another_of_this_request": candidate.is_siblings,
        "carries_reference": candidate.is_marked,
    }


def _wrong_use(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(WRONG_USE)


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(FAILED)
