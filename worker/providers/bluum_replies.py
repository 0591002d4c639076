"""How replies of Bluum's are read, whatever they are about: classified, with what support needs.

Which answer means what stands in `bluum_answers`; what a resource looks like, with its calls."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

from worker.core.answers import NO_TRACE, Denied, Refused, Throttled, Trace, Unclear
from worker.core.withdrawal import Reason
from worker.providers.answer_table import NO_STATUS, Acts, Body, Meaning, Operation, Row
from worker.providers.bluum_answers import ANSWERS
from worker.providers.http import Outcome, Postponed, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.providers.http import Line

_log = logging.getLogger(__name__)

_Item = TypeVar("_Item")

#: A page of a list; documented maxima are 100 (WDL) and 200 (HOW).
PAGE: Final = 100
PAGES_LIMIT: Final = 200
#: What is kept of a provider's own words.
TEXT_LIMIT: Final = 2000

#: The documented forms of ids, words and decimal numbers; what is in no such form is not read.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
WORD: Final = re.compile(r"[A-Za-z0-9 _.-]{1,64}")
DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SUCCESS_CLASS: Final = 2


async def read_list(
    line: Line,
    operation: Operation,
    path: str,
    *,
    query: Mapping[str, str],
    read: Callable[[object], _Item | None],
    identity: Callable[[_Item], str],
) -> tuple[_Item, ...] | Refused | Unclear | Throttled | Denied:
    """Read a list page by page, whole; each item once, as `read` reads it.

    The sort order is not documented, so an entry may move while we read, and the one that is
    looked for may slip through between two pages. Hence each page begins with the last entry
    of the one before: where it does not, the list moved, and nothing is concluded from it. A
    page may be shorter than was asked for (WDL and HOW disagree about the longest).
    """
    items: list[_Item] = []
    for _ in range(PAGES_LIMIT):
        paging = {"limit": str(PAGE), "offset": str(max(0, len(items) - 1))}
        outcome = await line.exchange(operation, "GET", path, query={**query, **paging})
        page = page_of(outcome, read)
        row = classified(operation, outcome, usable=page is not None)
        if row.meaning is not Meaning.LISTED or page is None:
            return no_success(row, outcome)
        found, more = page
        if items and (not found or identity(found[0]) != identity(items[-1])):
            return Unclear("list_moved")
        items[-1:] = found
        if not more:
            return tuple({identity(item): item for item in items}.values())
        if len(found) <= 1:
            # It promises more, and there is no way on.
            return Unclear("short_page")
    return Unclear("endless_list")


def page_of(
    outcome: Outcome, read: Callable[[object], _Item | None]
) -> tuple[list[_Item], bool] | None:
    """Read one page of a list, with whether more follows; None when it cannot be read whole."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    document = outcome.document or {}
    data, more = document.get("data"), document.get("has_more")
    if not isinstance(data, list) or not isinstance(more, bool):
        return None
    items = [item for item in map(read, data) if item is not None]
    # An entry that cannot be read might be the very one that is looked for.
    return (items, more) if len(items) == len(data) else None


def classified(
    operation: Operation, outcome: Outcome, *, usable: bool, strange: bool = False
) -> Row:
    """Find the row of the table that holds; `usable` tells whether a success's body is."""
    status, code = NO_STATUS, None
    match outcome:
        case Silence():
            body = Body.SILENCE
        case Postponed():
            body = Body.UNSENT
        case Reply(status=status) if is_success(outcome):
            body = (Body.STRANGE if strange else Body.USABLE) if usable else Body.OTHER
        case Reply(status=status):
            body, code = _error_body(outcome), trace_of(outcome).provider_code
        case _:  # pragma: no cover
            assert_never(outcome)
    row = ANSWERS.row(operation, status, body, code)
    # Of refused credentials who watches over them tells, once.
    if row.acts is Acts.OPERATOR and row.meaning is not Meaning.DENIED:
        _log.error(
            "operator needed",
            extra={"operation": operation.value, "http_status": status, "provider_code": code},
        )
    return row


def no_success(row: Row, outcome: Outcome) -> Refused | Unclear | Throttled | Denied:
    """Put a row into words of ours; what is none of the clear ones is unclear."""
    trace = trace_of(outcome)
    retry_after = outcome.retry_after if isinstance(outcome, Reply) else None
    match row.meaning:
        case Meaning.REFUSED if row.reason is not None:
            return Refused(Reason(row.reason, trace.provider_code), trace)
        case Meaning.THROTTLED:
            wait = outcome.wait if isinstance(outcome, Postponed) else retry_after
            return Throttled(wait, trace)
        case Meaning.DENIED:
            return Denied(trace)
        case _:
            heard = outcome.why if isinstance(outcome, Silence) else f"http_{trace.http_status}"
            return Unclear(row.why or heard, retry_after, trace)


def is_success(reply: Reply) -> bool:
    """Tell whether a status says that all went well."""
    return reply.status // 100 == _SUCCESS_CLASS


def _error_body(reply: Reply) -> Body:
    """Tell whether an error is in one of Bluum's documented envelopes (REF, ERR, ORD, NB)."""
    document = reply.document or {}
    if isinstance(document.get("error"), dict) or isinstance(document.get("code"), str):
        return Body.ENVELOPE
    return Body.TEXT if isinstance(document.get("error"), str) else Body.OTHER


def trace_of(outcome: Outcome) -> Trace:
    """Return what support asks for when a call is to be found again."""
    if not isinstance(outcome, Reply):
        return NO_TRACE
    reply, document = outcome, outcome.document or {}
    error = document.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else document
    code = inner.get("code")
    text = error if isinstance(error, str) else inner.get("message")
    return Trace(
        http_status=reply.status,
        provider_code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        request_id=reply.request_id,
        text=told(text),
    )


def told(text: object) -> str | None:
    """Cut what a provider wrote to what every ledger can store: no NUL, no lone surrogate."""
    if not isinstance(text, str):
        return None
    return text[:TEXT_LIMIT].replace("\x00", "").encode(errors="replace").decode()


def text_of(value: object, form: re.Pattern[str] | None = None) -> str | None:
    """Return a text that is in its documented form, else None."""
    if not isinstance(value, str) or (form is not None and not form.fullmatch(value)):
        return None
    return value
