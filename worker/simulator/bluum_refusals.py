"""Bluum's catalogue of errors, as far as the simulator has it (source CODES, ERR, REF).

Values only. A refusal is an expected outcome, hence no exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Code(StrEnum):
    """An error code of the form `BLUM-{HTTP status}-{number}` (CODES)."""

    INVALID = "BLUM-400-001"
    MISSING_FIELD = "BLUM-400-002"
    BAD_FORMAT = "BLUM-400-003"
    BAD_ENUM = "BLUM-400-004"
    BAD_AMOUNT = "BLUM-400-005"
    BAD_QUANTITY = "BLUM-400-006"
    BAD_DATE_RANGE = "BLUM-400-007"
    BODY_TOO_LARGE = "BLUM-400-008"
    AUTH_MISSING = "BLUM-401-001"
    AUTH_MALFORMED = "BLUM-401-002"
    AUTH_WRONG = "BLUM-401-003"
    NOT_APPROVED = "BLUM-403-002"
    NOT_FOUND = "BLUM-404-001"
    UNKNOWN_PATH = "BLUM-404-002"
    UNKNOWN_ASSET = "BLUM-404-003"
    DUPLICATE = "BLUM-409-001"
    KEY_REUSED = "BLUM-409-002"
    STATE_FORBIDS = "BLUM-409-003"
    INSUFFICIENT_FUNDS = "BLUM-422-001"
    MARKET_CLOSED = "BLUM-422-002"
    NOT_TRADABLE = "BLUM-422-003"
    TOO_FEW_SHARES = "BLUM-422-004"
    EXCEEDS_AVAILABLE = "BLUM-422-005"
    RATE_LIMITED = "BLUM-429-001"
    INTERNAL = "BLUM-500-001"

    @property
    def http_status(self) -> int:
        """The HTTP status that the code carries in its name."""
        return int(self.value.split("-")[1])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call was understood and not carried out: nothing changed.

    `param` names the field at fault, if there is one.
    """

    code: Code
    message: str
    param: str | None = None

    @property
    def type(self) -> str:
        """The word for `error.type` (NB's types); 409-002 alone has a word of its own."""
        if self.code is Code.KEY_REUSED:
            return "idempotency_error"
        return _TYPES[self.code.http_status]


_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
}
