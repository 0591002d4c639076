"""How replies of Bluum's are read, whatever they are about: its errors, and its lists.

Which answer means what stands in `bluum_answers`; what a resource looks like, with its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.core.answers import Trace, Unclear
from worker.providers.answer_table import Body, Meaning, Operation
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


#: How both generations of the API talk.
DIALECT: Final = Dialect(ANSWERS, _error_body, _trace)


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
        row = DIALECT.classified(operation, outcome, usable=page is not None)
        if row.meaning is not Meaning.LISTED or page is None:
            return DIALECT.no_success(row, outcome)
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
