"""All the forms in which Upvest, or somebody in its place, may write an answer of one kind.

Written from the project's reference, independent of the table of answers that they are held to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.providers.canned import Raw, Said
from worker.providers.answer_table import Body, Operation

if TYPE_CHECKING:
    from tests.providers.canned import Answer

#: Every slug of the reference (ERR), and the bare word of the spec's examples.
DOCUMENTED: Final = {
    "invalid_request": 400,
    "bad_request": 400,
    "missing_client_id": 400,
    "missing_idempotency_key": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "not_found": 404,
    "not_acceptable": 406,
    "conflict": 409,
    "unprocessable_entity": 422,
    "too_many_requests": 429,
    "internal": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
}
#: Words that no page names.
UNKNOWN: Final = ("insufficient_funds", "insufficient", "funds_insufficient_funds", "x")

#: The one interim answer that no other follows. Nothing that comes with it is read.
SWITCHING: Final = 101
NO_CONTENT: Final = 204
REQUEST_ID: Final = "0f9e8d7c-6b5a-4c3d-8e2f-1a0b9c8d7e66"
TEXT: Final = "a text"
WITHDRAWAL: Final = {
    "id": "e2d4b6a8-0c1f-4e3a-9b7d-5a6c8e9f0d33",
    "status": "PROCESSING",
    "amount": "250.75",
}
ORDER: Final = {"id": "eb5ba93f-5dfe-4bf1-8571-4da0caacc80c", "status": "PROCESSING"}
EMPTY_PAGE: Final[dict[str, Any]] = {"meta": {"total_count": 0}, "data": []}

_ABOUT_ORDER: Final = frozenset({Operation.SELL, Operation.ORDER, Operation.CANCEL_ORDER})
_ABOUT_ONE: Final = _ABOUT_ORDER | {Operation.CREATE, Operation.LOOK, Operation.CANCEL}
CANCELS: Final = frozenset({Operation.CANCEL, Operation.CANCEL_ORDER})
#: Nobody's words under any status: a proxy's page, half an answer, JSON that is no problem.
_NOBODYS: Final[tuple[Any, ...]] = (
    b"<html>blocked</html>",
    b'{"type":"forbidden","status":',
    b"null",
    [{"type": "forbidden", "status": 403}],
    {},
    {"message": "no Route matched with those values"},
    {"error": {"code": "BLUM-422-001", "message": TEXT}},
    {"type": "forbidden"},
    {"type": "", "status": 403},
    {"type": None, "status": 403},
    {"type": "forbidden", "status": "403"},
    {"type": "forbidden", "status": True},
    {"type": "forbidden", "status": 599},
)


def is_success(status: int) -> bool:
    """Tell whether a status says that all went well."""
    return 200 <= status < 300


def kinds(operation: Operation, status: int) -> tuple[Body, ...]:
    """Every kind of body that may come with a status; no page knows an error that is a text."""
    if status == SWITCHING:
        return (Body.OTHER,)
    if not is_success(status):
        return (Body.ENVELOPE, Body.OTHER)
    if operation in _ABOUT_ONE:
        return (Body.USABLE, Body.STRANGE, Body.OTHER)
    return (Body.USABLE, Body.OTHER)


def forms(operation: Operation, status: int, kind: Body, code: str | None) -> list[Any]:
    """Every form of a kind of body; what is not bytes is to be written as JSON."""
    match kind:
        case Body.USABLE:
            return _usable(operation)
        case Body.STRANGE:
            known = ORDER if operation in _ABOUT_ORDER else WITHDRAWAL
            return [known | {"status": word} for word in ("PAUSED", "processing", None, 7)]
        case Body.ENVELOPE:
            return _problems(status, code)
        case _ if status == SWITCHING:
            return [b""]
        case _:
            return [b"", *_NOBODYS, *(_unusable(operation) if is_success(status) else ())]


def _problems(status: int, code: str | None) -> list[Any]:
    rest = {"status": status, "title": "no", "detail": TEXT, "request_id": "another"}
    if code is None:
        return [rest | {"type": "https://docs.upvest.co/?"}, rest | {"type": "two words"}]
    urls = (f"https://docs.upvest.co/errors/{code}", f"/errors/{code}/", code)
    return [rest | {"type": url} for url in (*urls, code.upper().replace("_", "-"))]


def _usable(operation: Operation) -> list[Any]:
    if operation in _ABOUT_ORDER:
        return [ORDER]
    if operation in _ABOUT_ONE:
        return [WITHDRAWAL]
    known = {"id": ORDER["id"]} if operation is Operation.ORDERS else WITHDRAWAL
    return [EMPTY_PAGE, {"meta": {"total_count": 1, "count": 1}, "data": [known]}]


def _unusable(operation: Operation) -> tuple[Any, ...]:
    if operation in _ABOUT_ONE:
        return ({"id": "../wd"}, {"status": "PROCESSING"}, EMPTY_PAGE)
    return (WITHDRAWAL, {"data": []}, EMPTY_PAGE | {"data": [{"status": "NEW"}]})


def said(status: int, body: Any) -> Answer:  # noqa: ANN401 - any JSON
    """Put an answer on the wire, by hand where no server library would."""
    if 200 <= status < 600:
        return Said(status, body, {"upvest-request-id": REQUEST_ID})
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status:03} X",
        f"upvest-request-id: {REQUEST_ID}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    return Raw("\r\n".join(head).encode() + b"\r\n\r\n" + content)
