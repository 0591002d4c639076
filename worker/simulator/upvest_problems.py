"""Upvest's errors: problem documents, with a type and a status (source ERR).

Values only. A refusal is an expected outcome, hence no exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.route import Document

#: Where the pages are that a type names (ERR).
_PAGES: Final = "https://docs.upvest.co/errors/"


class Kind(StrEnum):
    """The last word of a type (ERR)."""

    INVALID_REQUEST = "invalid_request"
    MISSING_CLIENT_ID = "missing_client_id"
    MISSING_KEY = "missing_idempotency_key"
    #: RFC 6749's word; which one Upvest has is not documented.
    INVALID_SCOPE = "invalid_scope"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_ACCEPTABLE = "not_acceptable"
    CONFLICT = "conflict"
    UNPROCESSABLE = "unprocessable_entity"
    TOO_MANY = "too_many_requests"
    INTERNAL = "internal"


_STATUSES: Final[Mapping[Kind, int]] = {
    Kind.INVALID_REQUEST: 400,
    Kind.MISSING_CLIENT_ID: 400,
    Kind.MISSING_KEY: 400,
    Kind.INVALID_SCOPE: 400,
    Kind.UNAUTHORISED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.NOT_ACCEPTABLE: 406,
    Kind.CONFLICT: 409,
    Kind.UNPROCESSABLE: 422,
    Kind.TOO_MANY: 429,
    Kind.INTERNAL: 500,
}
#: The general kind of a status that a term may choose.
_GENERAL: Final[Mapping[int, Kind]] = {
    400: Kind.INVALID_REQUEST,
    403: Kind.FORBIDDEN,
    409: Kind.CONFLICT,
    422: Kind.UNPROCESSABLE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A call was understood and not carried out: nothing changed.

    `type` replaces the last word of the type; `instance` names the field at fault, if there is one.
    """

    kind: Kind
    detail: str
    instance: str | None = None
    type: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUSES[self.kind]

    @classmethod
    def of_status(cls, status: int, detail: str, *, word: str | None = None) -> Problem:
        """Return a problem of the general kind of a status, its type ending in `word` if any."""
        return cls(_GENERAL[status], detail, type=word)

    def document(self) -> Document:
        """Return the body, but for `request_id`, which is the response's."""
        document: Document = {
            "type": _PAGES + (self.type or self.kind),
            "status": self.status,
            "title": self.kind.replace("_", " ").capitalize(),
            "detail": self.detail,
        }
        return document if self.instance is None else document | {"instance": self.instance}
