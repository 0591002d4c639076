"""All the forms in which Bluum, or somebody in its place, may write an answer of one kind.

Written from the project's reference, independent of the table of answers that they are held to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.providers.canned import Raw, Said
from worker.providers.answer_table import Body, Operation

if TYPE_CHECKING:
    from tests.providers.canned import Answer

#: Every code of the reference (CODES; ORD for the last).
DOCUMENTED: Final = {
    *(f"BLUM-400-00{number}" for number in range(1, 9)),
    *(f"BLUM-401-00{number}" for number in range(1, 6)),
    *(f"BLUM-403-00{number}" for number in range(1, 5)),
    *(f"BLUM-404-00{number}" for number in range(1, 4)),
    *(f"BLUM-409-00{number}" for number in range(1, 4)),
    *(f"BLUM-422-00{number}" for number in range(1, 6)),
    "BLUM-429-001",
    "BLUM-500-001",
    "BLUM-500-017",
    "PRODUCT_NOT_ENABLED",
}
#: Codes that no page names.
UNKNOWN: Final = ("BLUM-422-999", "blum-422-001", "BLUM-4220-001")

#: The one interim answer that no other follows. Nothing that comes with it is read.
SWITCHING: Final = 101
REQUEST_ID: Final = "req_7f3a"
TEXT: Final = "a text"
PROCESSING: Final = {"id": "wd_01demo", "status": "processing", "amount": "250.75"}
FILLED_PARTLY: Final = {"id": "ord_01demo", "status": "partial", "filled_quantity": "1"}
EMPTY_PAGE: Final = {"object": "list", "url": "/x", "has_more": False, "data": []}
NO_FUNDS: Final = {"error": {"code": "BLUM-422-001", "message": TEXT}}

_ABOUT_ORDER: Final = frozenset({Operation.SELL, Operation.ORDER, Operation.CANCEL_ORDER})
_ABOUT_ONE: Final = _ABOUT_ORDER | {Operation.CREATE, Operation.LOOK, Operation.CANCEL}
#: Nobody's words: a proxy's page, half an answer, JSON that is no error of Bluum's.
_NOBODYS: Final[tuple[Any, ...]] = (
    b"",
    b"<html>blocked</html>",
    b'{"error":{"code":"BLUM-422-001"',
    b'\x1f\x8b\x08{"code":"BLUM-422-001"}',
    b"null",
    [NO_FUNDS],
    {},
    {"message": "no Route matched with those values"},
    {"error": None, "code": 422},
    {"error": ["no"]},
)
_NO_WITHDRAWALS: Final[tuple[Any, ...]] = (
    NO_FUNDS,
    EMPTY_PAGE,
    PROCESSING | {"id": "../wd_01"},
    {"status": "x"},
)
_NO_PAGES: Final[tuple[Any, ...]] = (
    NO_FUNDS,
    PROCESSING,
    {"data": []},
    EMPTY_PAGE | {"has_more": "no"},
    EMPTY_PAGE | {"data": [{"id": "wd_02"}]},
)
_NO_PAGES_OF_ORDERS: Final = (*_NO_PAGES[:-1], EMPTY_PAGE | {"data": [{"status": "open"}]})


def is_success(status: int) -> bool:
    """Tell whether a status says that all went well."""
    return 200 <= status < 300


def kinds(operation: Operation, status: int) -> tuple[Body, ...]:
    """Every kind of body that may come with a status; the codes of errors stand in envelopes."""
    if status == SWITCHING:
        return (Body.OTHER,)
    if not is_success(status):
        return (Body.ENVELOPE, Body.TEXT, Body.OTHER)
    if operation in _ABOUT_ONE:
        return (Body.USABLE, Body.STRANGE, Body.OTHER)
    return (Body.USABLE, Body.OTHER)


def forms(operation: Operation, status: int, kind: Body, code: str | None) -> list[Any]:
    """Every form of a kind of body; what is not bytes is to be written as JSON."""
    match kind:
        case Body.USABLE:
            return _usable(operation)
        case Body.STRANGE:
            known = FILLED_PARTLY if operation in _ABOUT_ORDER else PROCESSING
            return [known | {"status": word} for word in ("in_review", "PENDING", None, 7)]
        case Body.ENVELOPE if code is None:
            return [{"error": {"message": TEXT}}, {"code": "?", "message": TEXT}]
        case Body.ENVELOPE:
            named = {"code": code, "message": TEXT}
            return [{"error": {"type": "x", **named}}, named, {"status": "error", **named}]
        case Body.TEXT:
            return [{"error": TEXT}, {"error": TEXT, "status": status, "path": "/v1"}]
        case _ if status == SWITCHING:
            return [b""]
        case _ if not is_success(status):
            return list(_NOBODYS)
        case _:
            return [*_NOBODYS, *_unusable(operation)]


def _usable(operation: Operation) -> list[Any]:
    if operation in _ABOUT_ORDER:
        return [FILLED_PARTLY, {"order_id": "ord_01demo", "status": "partially_filled"}]
    if operation is Operation.ORDERS:
        return [EMPTY_PAGE, EMPTY_PAGE | {"data": [FILLED_PARTLY]}]
    if operation in _ABOUT_ONE:
        return [PROCESSING, {"withdrawal_id": "wd_01demo", "status": "processing"}]
    return [EMPTY_PAGE, EMPTY_PAGE | {"data": [PROCESSING | {"amount": "1.00"}]}]


def _unusable(operation: Operation) -> tuple[Any, ...]:
    if operation in _ABOUT_ONE:
        return _NO_WITHDRAWALS
    # An order is told by its id alone.
    return _NO_PAGES if operation is not Operation.ORDERS else _NO_PAGES_OF_ORDERS


def said(status: int, body: Any) -> Answer:  # noqa: ANN401 - any JSON
    """Put an answer on the wire, by hand where no server library would."""
    if 200 <= status < 600:
        return Said(status, body, {"X-Request-Id": REQUEST_ID})
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status:03} X",
        f"X-Request-Id: {REQUEST_ID}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    return Raw("\r\n".join(head).encode() + b"\r\n\r\n" + content)
