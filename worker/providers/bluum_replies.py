"""How replies of Bluum's are read, whatever they are about: its errors, and its lists.

Which answer means what stands in `bluum_answers`; what a resource looks like, with its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.core.answers import Trace, Unclear
from worker.providers.answer_table import AnswerTable, Body, Meaning, Operation
from worker.providers.bluum_answers import ANSWERS
from worker.providers.http import Reply
from worker.providers.replies import CODE, Dialect, is_success, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.answers import Denied, Refused, Throttled
    from worker.providers.http import Line, Outcome

_Item = TypeVar("_Item")

#: A page of a list; documented maxima are 100 (WDL) and 200 (HOW).
PAGE: Final = 100
#: How many entries a page has where nobody asks for more (HOW). From this length on a list may
#: have been cut, whatever its `total` says: what that counts is documented nowhere.
CUT_PAGE: Final = 50
#: Where the entries of a list stand: `data` (HOW); `withdrawals` is inferred for the older lists,
#: of which the pages show nothing but a `total`.
_LISTS: Final = ("data", "withdrawals")
_IDS: Final = frozenset({"id", "withdrawal_id", "order_id"})
PAGES_LIMIT: Final = 200


def _error_body(reply: Reply) -> Body:
    """Tell whether an error is in one of Bluum's documented envelopes (REF, ERR, ORD, NB)."""
    document = reply.document or {}
    if isinstance(document.get("error"), dict) or isinstance(document.get("code"), str):
        return Body.ENVELOPE
    return Body.TEXT if isinstance(document.get("error"), str) else Body.OTHER


def _trace(reply: Reply) -> Trace:
    document = reply.document or {}
    error = document.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else document
    code = inner.get("code")
    return Trace(
        http_status=reply.status,
        provider_code=code if isinstance(code, str) and CODE.fullmatch(code) else None,
        request_id=reply.request_id,
        text=told(error if isinstance(error, str) else inner.get("message")),
    )


def dialect_of(provider: str) -> Dialect:
    """Return how a generation of the API talks: alike in both, and each under its own name."""
    return Dialect(AnswerTable(provider, ANSWERS.rows), _error_body, _trace)


async def read_list(
    line: Line,
    dialect: Dialect,
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
    of the one before: where it does not, the list moved, and nothing is concluded from it. Nor
    where two pages show the same besides: it moved, and another one the opposite way perhaps. A
    page may be shorter than was asked for (WDL and HOW disagree about the longest).
    """
    items: list[_Item] = []
    for _ in range(PAGES_LIMIT):
        offset = max(0, len(items) - 1)
        paging = {"limit": str(PAGE), "offset": str(offset)}
        outcome = await line.exchange(operation, "GET", path, query={**query, **paging})
        page = page_of(outcome, read, offset=offset)
        row = dialect.classified(operation, outcome, usable=page is not None)
        if row.meaning is not Meaning.LISTED or page is None:
            return dialect.no_success(row, outcome)
        found, more = page
        if items and (not found or identity(found[0]) != identity(items[-1])):
            return Unclear("list_moved")
        items[-1:] = found
        if not more:
            known = {identity(item): item for item in items}
            has_moved = offset > 0 and len(known) < len(items)
            return Unclear("list_moved") if has_moved else tuple(known.values())
        if len(found) <= 1:
            # It promises more, and there is no way on.
            return Unclear("short_page")
    return Unclear("endless_list")


def resource(reply: Reply) -> Mapping[str, Any]:
    """Return what a success is about, out of its envelope where it has one.

    Bare (WD, G2), or in `{"data": ...}` or `{"status": "success", "data": ...}` (NB, WHR). With
    another status around it, or an id beside it, `data` is something else.
    """
    document = reply.document or {}
    inner = document.get("data")
    if not isinstance(inner, dict) or not _IDS.isdisjoint(document):
        return document
    return inner if _says_success(document) else {}


def page_of(
    outcome: Outcome, read: Callable[[object], _Item | None], *, offset: int = 0
) -> tuple[list[_Item], bool] | None:
    """Read one page of a list, with whether more follows; None when it cannot be read whole.

    `offset` is how many entries lie before the page.
    """
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    if not _says_success(outcome.document or {}):
        return None
    page = resource(outcome)
    lists = [page[name] for name in _LISTS if isinstance(page.get(name), list)]
    if len(lists) != 1:
        return None
    more = _more(page, offset, len(lists[0]))
    items = [item for item in map(read, lists[0]) if item is not None]
    # An entry that cannot be read might be the very one that is looked for.
    return (items, more) if more is not None and len(items) == len(lists[0]) else None


def _says_success(document: Mapping[str, Any]) -> bool:
    """Tell whether an envelope says that all went well, or leaves that to the HTTP status."""
    word = document.get("status")
    return word is None or word == "success"


def _more(page: Mapping[str, Any], offset: int, count: int) -> bool | None:
    """Tell whether entries follow a page; None when it does not say, or contradicts itself.

    `has_more` says so (HOW), or `total` does (WDL, G2): read as the number of all entries, and
    where it may be that of a page that was cut, what would follow is asked for.
    """
    more, total = page.get("has_more"), page.get("total")
    end = offset + count
    if isinstance(total, bool) or not isinstance(total, int | None):
        return None
    if isinstance(more, bool):
        is_contradiction = not more and total is not None and total > end
        return None if is_contradiction else more
    if more is not None or total is None or total < end:
        return None
    return total > end or count >= CUT_PAGE
