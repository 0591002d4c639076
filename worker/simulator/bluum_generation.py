"""In what the two generations of the simulated Bluum API differ, as data.

Values only. How a document of each is written stands in `bluum_documents`, what a body of each may
hold in `bluum_calls`; bank, keys and webhooks are the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_withdrawal import PAGE_MAX, Method, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


class AnswerShape(StrEnum):
    """What is around a withdrawal, or a list of them: nothing, `data`, or `status` and `data`."""

    BARE = "bare"
    DATA = "data"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation of the API.

    `scope` is the word of the path before the id of a party, `party_name` the field with that id.
    `forms` are those of the ids in paths. `fields` are the names in a create body; `required` must
    all be there, and `options` names the one that a method needs and no other takes. `words` are
    the statuses that are written in another way. `is_older` tells in which form documents and
    errors are written, and that withdrawals are `submitted` on their way.
    """

    scope: str
    party_name: str
    forms: Mapping[str, re.Pattern[str]]
    withdrawal_prefix: str
    methods: tuple[Method, ...]
    fields: frozenset[str]
    required: tuple[str, ...]
    options: Mapping[Method, str]
    words: Mapping[Status, str]
    page_max: int
    is_older: bool

    def word(self, status: Status) -> str:
        """Return how a status is written."""
        return self.words.get(status, status.value)


_COMMON: Final = frozenset({"amount", "method", "currency", "description", "wire_options"})

#: The current one (G3).
INVESTOR_SCOPED: Final = Generation(
    scope="investors",
    party_name="investor_id",
    forms={
        "investor_id": re.compile(r"inv_[A-Za-z0-9_-]{1,120}"),
        "withdrawal_id": re.compile(r"wd_[A-Za-z0-9_-]{1,120}"),
    },
    withdrawal_prefix="wd_",
    methods=(Method.ACH, Method.WIRE, Method.INTERNATIONAL_WIRE, Method.MANUAL_BANK_TRANSFER),
    fields=_COMMON | {"funding_source_id"},
    required=("amount", "method", "funding_source_id"),
    # Reserved (WD): taken and ignored.
    options={},
    words={},
    page_max=PAGE_MAX,
    is_older=False,
)
#: The older one (G2, NB). That a wire needs `wire_options` is inferred from their name.
ACCOUNT_SCOPED: Final = Generation(
    scope="accounts",
    party_name="account_id",
    forms={
        "account_id": re.compile(_UUID),
        "withdrawal_id": re.compile(r"wdr_[A-Za-z0-9_-]{1,120}"),
    },
    withdrawal_prefix="wdr_",
    methods=(Method.ACH_PLAID, Method.ACH, Method.WIRE),
    fields=_COMMON | {"plaid_options"},
    required=("amount", "method"),
    options={
        Method.ACH_PLAID: "plaid_options",
        Method.ACH: "plaid_options",
        Method.WIRE: "wire_options",
    },
    words={Status.CANCELLED: "canceled"},
    page_max=100,
    is_older=True,
)
