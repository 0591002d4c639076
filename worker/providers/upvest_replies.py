"""How replies of Upvest's are read, whatever they are about: its errors, and its lists.

Which answer means what stands in `upvest_answers`; what a resource looks like, with its calls."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from worker.core.answers import Trace, Unclear
from worker.providers.answer_table import Body, Meaning, Operation
from worker.providers.http import Reply
from worker.providers.replies import CODE, Dialect, is_success, told
from worker.providers.upvest_answers import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.core.answers import Denied, Refused, Throttled
    from worker.providers.http import Outcome
    from worker.providers.upvest_access import Scope, UpvestAccess

_Item = TypeVar("_Item")

#: A page of a list; at most 1000 are documented (S26).
PAGE: Final = 200
PAGES_LIMIT: Final = 200

_NO_TIME: Final = datetime(1970, 1, 2, tzinfo=UTC)


def _error_body(reply: Reply) -> Body:
    """Tell whether an error is a problem document of Upvest's (ERR): `type` and `status` in it.

    The status is written into the body so that one that was changed on the way is found out.
    """
    document = reply.document or {}
    is_told = isinstance(document.get("type"), str) and document["type"]
    status = document.get("status")
    is_meant = isinstance(status, int) and not isinstance(status, bool) and status == reply.status
    return Body.ENVELOPE if is_told and is_meant else Body.OTHER


def _trace(reply: Reply) -> Trace:
    document = reply.document or {}
    return Trace(
        http_status=reply.status,
        provider_code=_code(document.get("type")),
        request_id=reply.request_id or _request_id(document.get("request_id")),
        text=told(document.get("detail")) or told(document.get("title")),
    )


def _code(kind: object) -> str | None:
    """Read the word in a problem's `type`: the end of a URL (ERR), or all of it (spec examples)."""
    if not isinstance(kind, str):
        return None
    word = kind.rstrip("/").rpartition("/")[2].lower().replace("-", "_")
    return word if CODE.fullmatch(word) else None


def _request_id(value: object) -> str | None:
    return value if isinstance(value, str) and CODE.fullmatch(value) else None


#: How Upvest talks.
DIALECT: Final = Dialect(ANSWERS, _error_body, _trace)


class Page(NamedTuple):
    """One page of a list, and how many entries the list has in all."""

    items: list[Any]
    total: int


async def read_list(
    access: UpvestAccess,
    operation: Operation,
    path: str,
    *,
    scope: Scope,
    query: Mapping[str, str],
    read: Callable[[object], _Item | None],
    identity: Callable[[_Item], str],
    is_enough: Callable[[Sequence[_Item]], bool] = lambda _items: False,
) -> tuple[_Item, ...] | Refused | Unclear | Throttled | Denied:
    """Read a list page by page; each item once, as `read` reads it.

    It is read to its end, or until `is_enough` of what was read so far. While we read, entries are
    added and (where the list is filtered) taken out, so each page begins with the last entry of the
    one before. New ones at the front push that further to the right, and nothing is lost; where it
    is not on the page at all, or there are fewer at the end than every page has promised, something
    may have slipped through (entries of one time may come in any order), and nothing is concluded.
    """
    items: dict[str, _Item] = {}
    last: str | None = None
    offset, total = 0, sys.maxsize
    for _ in range(PAGES_LIMIT):
        paging = {"limit": str(PAGE), "offset": str(offset)}
        outcome = await access.exchange(
            operation, "GET", path, scope=scope, query={**query, **paging}
        )
        page = page_of(outcome, read)
        row = DIALECT.classified(operation, outcome, usable=page is not None)
        if row.meaning is not Meaning.LISTED or page is None:
            return DIALECT.no_success(row, outcome)
        found = {identity(item): item for item in page.items}
        if last is not None and last not in found:
            return Unclear("list_moved")
        fresh = {name: item for name, item in found.items() if name not in items}
        items |= fresh
        last = next(reversed(found), None)
        seen, total = offset + len(page.items), min(total, page.total)
        is_short = len(page.items) < PAGE or not fresh
        is_end = is_short and seen >= page.total
        if is_end and len(items) < total:
            return Unclear("list_moved")
        if is_end or is_enough(tuple(items.values())):
            return tuple(items.values())
        if not fresh:
            # It promises more, and there is no way on.
            return Unclear("short_page")
        offset = seen - 1
    return Unclear("endless_list")


def page_of(outcome: Outcome, read: Callable[[object], _Item | None]) -> Page | None:
    """Read one page of a list (PAG, S26); None when it cannot be read whole."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    document = outcome.document or {}
    data, meta = document.get("data"), document.get("meta")
    total = meta.get("total_count") if isinstance(meta, dict) else None
    if not isinstance(data, list) or not isinstance(total, int) or isinstance(total, bool):
        return None
    items = [item for item in map(read, data) if item is not None]
    # An entry that cannot be read might be the very one that is looked for.
    return Page(items, total) if len(items) == len(data) else None


def time_of(value: object) -> datetime | None:
    """Read a time (RFC 3339); None where there is none, or one that a server writes for none."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        # The last hours of the calendar may fall out of it.
        at = at if at is None or at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if at is None:
        return None
    at = at.replace(tzinfo=UTC)
    return at if at > _NO_TIME else None
