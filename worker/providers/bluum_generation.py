"""In what the two generations of Bluum's API differ, as data: one adapter speaks both.

Values only. Whatever is not here is the same in both, and what a page says of one generation (a
status word, an envelope, the form of a time) is read in the other as well: pages mix them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from worker.providers.bluum_requests import (
    AccountMethod,
    BluumAccountsRequest,
    BluumRequest,
    Instruction,
    Method,
)

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation of the API.

    `scope` is the word of the path before the id of a party, `nobody` an id in the right form that
    no party has. `id_names` are the fields in which a withdrawal may tell its own id, the first
    one first; `party_name` tells whose it is. `target` are the fields, each by its way through the
    document, that name the bank account together. `has_wallets` tells whether the call for what
    may be withdrawn is part of it.
    """

    provider: str
    shape: type[Instruction]
    scope: str
    nobody: str
    methods: Collection[str]
    id_names: tuple[str, ...]
    party_name: str
    target: tuple[tuple[str, ...], ...]
    has_wallets: bool


#: The current generation (G3).
INVESTOR_SCOPED: Final = Generation(
    provider="bluum",
    shape=BluumRequest,
    scope="investors",
    nobody="inv_credentials_check",
    methods=get_args(Method),
    id_names=("id", "withdrawal_id"),
    party_name="investor_id",
    target=(("funding_source_id",),),
    has_wallets=True,
)
#: The older one (G2, NB; the older copies of WD, WDL, WDG and WDC).
ACCOUNT_SCOPED: Final = Generation(
    provider="bluum_accounts",
    shape=BluumAccountsRequest,
    scope="accounts",
    nobody="00000000-0000-4000-8000-000000000000",
    methods=get_args(AccountMethod),
    id_names=("withdrawal_id", "id"),
    party_name="account_id",
    target=(("plaid_options", "item_id"), ("plaid_options", "account_id")),
    has_wallets=False,
)
