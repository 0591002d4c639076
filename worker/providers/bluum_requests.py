"""What a request for a withdrawal through Bluum may ask for, in each generation of its API.

Pure: a document in, a request or named problems out (`core.requests`). What is sent of it is put
together by the adapter; nothing here sends."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from worker.core.described import PRINTABLE, UUID, only_when, text, texts, together
from worker.core.requests import Description, Identifier, Request, is_printable
from worker.providers.bluum_orders import Orders  # noqa: TC001 - pydantic reads it when it runs

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How money travels in the investor-scoped generation (WD).
Method = Literal["ach", "wire", "international_wire", "manual_bank_transfer"]
#: The same in the account-scoped one; `ach_plaid` and `ach` are names of one way (G2, NB).
AccountMethod = Literal["ach_plaid", "ach", "wire"]
_ACH: Final = frozenset({"ach_plaid", "ach"})

#: The most names that `wire_options` may hold, and the most characters of each of its texts.
WIRE_OPTIONS_LIMIT: Final = 20
WIRE_TEXT_LIMIT: Final = 200

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _refuse(expected: str) -> PydanticCustomError:
    return PydanticCustomError("expectation", "expected {expected}", {"expected": expected})


def _account(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        expected = 'a UUID, such as "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"'
        raise _refuse(expected)
    # One account has one spelling, whoever wrote it.
    return value.lower()


def _wire_options(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    expected = f"a flat map of 1 to {WIRE_OPTIONS_LIMIT} names to texts"
    if not isinstance(value, dict) or not 1 <= len(value) <= WIRE_OPTIONS_LIMIT:
        raise _refuse(expected)
    if not all(_OPTION.fullmatch(name) and _is_text(text) for name, text in value.items()):
        limit = f", each of at most {WIRE_TEXT_LIMIT} characters without control characters"
        raise _refuse(expected + limit)
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= WIRE_TEXT_LIMIT and is_printable(value)


Account = Annotated[str, BeforeValidator(_account), text(UUID)]
WireOptions = Annotated[
    dict[str, str] | None,
    BeforeValidator(_wire_options),
    texts(
        _OPTION.pattern,
        {"pattern": f"^(?:{PRINTABLE})+$", "maxLength": WIRE_TEXT_LIMIT},
        type=["object", "null"],
        minProperties=1,
        maxProperties=WIRE_OPTIONS_LIMIT,
    ),
]


class Instruction(Request):
    """What a request asks of Bluum in either generation: a way for the money, and where it goes."""

    description: Description = Field(default=None, repr=False)

    @property
    @abstractmethod
    def destination(self) -> Mapping[str, Any]:
        """The fields of the create body that say where the money goes: bank details."""


class BluumRequest(Instruction):
    """The request body for `"provider": "bluum"` (contract section 2; fields as in WD)."""

    provider: Literal["bluum"]
    investor_id: Identifier
    method: Method
    funding_source_id: Identifier = Field(repr=False)
    sell: Orders = ()

    @property
    def party_id(self) -> str:
        """The investor."""
        return self.investor_id

    @property
    def target_id(self) -> str:
        """The funding source that the money goes to."""
        return self.funding_source_id

    @property
    def payout_method(self) -> str:
        """How the money travels."""
        return self.method

    @property
    def destination(self) -> Mapping[str, Any]:
        """The funding source (WD)."""
        return {"funding_source_id": self.funding_source_id}


class PlaidOptions(BaseModel):
    """The bank account that the money goes to, as Plaid names it (G2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    item_id: Identifier = Field(repr=False)
    account_id: Identifier = Field(repr=False)


class BluumAccountsRequest(Instruction):
    """The request body for `"provider": "bluum_accounts"` (contract section 2; fields as in G2).

    ACH needs `plaid_options`, a wire needs `wire_options`; each is refused beside the other's
    method. What stands in `wire_options` no page tells (G2 calls wires a thing of the future), so
    they are a flat map of texts that is passed on as it is.
    """

    model_config = ConfigDict(
        json_schema_extra=together(
            only_when({"method": {"enum": sorted(_ACH)}}, "plaid_options", unless_said=True),
            only_when({"method": {"const": "wire"}}, "wire_options", unless_said=True),
        )
    )

    provider: Literal["bluum_accounts"]
    account_id: Account
    method: AccountMethod
    plaid_options: PlaidOptions | None = Field(default=None, repr=False, validate_default=True)
    wire_options: WireOptions = Field(default=None, repr=False, validate_default=True)

    @field_validator("plaid_options", mode="after")
    @classmethod
    def _for_ach(cls, value: PlaidOptions | None, info: ValidationInfo) -> PlaidOptions | None:
        _require_for(_ACH, "ach_plaid and ach", given=value is not None, info=info)
        return value

    @field_validator("wire_options", mode="after")
    @classmethod
    def _for_wires(
        cls, value: dict[str, str] | None, info: ValidationInfo
    ) -> dict[str, str] | None:
        _require_for({"wire"}, "wire", given=value is not None, info=info)
        return value

    @property
    def party_id(self) -> str:
        """The account whose money it is."""
        return self.account_id

    @property
    def target_id(self) -> str:
        """The account at the bank: Plaid's two ids of it, or a digest of the wire's options."""
        if self.plaid_options is not None:
            return f"{self.plaid_options.item_id}:{self.plaid_options.account_id}"
        written = json.dumps(self.wire_options, sort_keys=True).encode()
        return f"wire:{sha256(written).hexdigest()[:32]}"

    @property
    def payout_method(self) -> str:
        """How the money travels."""
        return self.method

    @property
    def destination(self) -> Mapping[str, Any]:
        """Plaid's options, or those of the wire (G2)."""
        if self.plaid_options is not None:
            return {"plaid_options": self.plaid_options.model_dump()}
        return {"wire_options": self.wire_options}


def _require_for(
    methods: frozenset[str] | set[str], named: str, *, given: bool, info: ValidationInfo
) -> None:
    """Refuse options without their method, and a method without its options."""
    method = info.data.get("method")
    if method is not None and given is not (method in methods):
        expected = f"to be present for the method {named}, and absent for any other"
        raise _refuse(expected)
