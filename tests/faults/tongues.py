"""In what the providers differ, for who writes requests to them and who judges what came of them.

Pure: one row for each provider. How their simulators are run stands in `stands`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_OID, uuid5

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

PAID: Final = frozenset({"completed"})
REJECTED: Final = frozenset({"rejected"})
FAILED: Final = frozenset({"failed"})
CANCELLED: Final = frozenset({"cancelled"})

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Special:
    """Somebody with a meaning of their own (the simulator's `--help`): what their requests say.

    `ends` is what may become of them. `may_stay_open`: the list of an unknown party is refused as
    well, so that an unclear attempt for it can be told by nobody once the key is forgotten.
    """

    changes: Document
    ends: frozenset[str]
    may_stay_open: bool = False


@dataclass(frozen=True, slots=True)
class Orders:
    """Sell orders, the cash that they raise, and whether all of them are sold."""

    documents: tuple[Document, ...]
    amount: int
    are_sold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tongue:
    """How one provider is spoken to, and in which words it shows what became of it.

    `document` draws a request that has to be paid out. `poor` gives the fields of one who has next
    to no cash, named after a request; `orders` draws what such a one, by that name, sells. Each is
    None where the provider has nothing of the kind. `party` is the field that says whose money it
    is, `text` the free one. `wrong` are changes after which a request breaks a rule of this
    provider alone.

    `told` are the provider's words for where a withdrawal stands as events tell them, where they
    differ, `resting` those for an order that may still be sold.
    `reversal` is the one webhook that tells of a reversal: who does not get it looks a day later.
    `has_references` says that a lost withdrawal can be told from one that is like it by default,
    `has_tokens` that calls carry tokens, and webhooks are signed with a key that may change.
    """

    provider: str
    document: Callable[[Random], Document]
    special: Mapping[str, Special]
    party: str
    text: str
    poor: Callable[[str], Document] | None = None
    orders: Callable[[Random, str], Orders] | None = None
    wrong: Mapping[str, Document] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    resting: frozenset[str] = frozenset()
    reversal: str = ""
    has_references: bool = True
    has_tokens: bool = False


def _amount(random: Random) -> str:
    return f"{random.randrange(1, 500)}.{random.randrange(100):02}"


def _uuid(beginning: str, name: str) -> str:
    """Return a UUID that begins so; of one name they all have the same end."""
    return beginning + str(uuid5(NAMESPACE_OID, name))[8:]


def _of_investor(random: Random) -> Document:
    # The steps of some take so long that they can be cancelled in time.
    pace = "slow_" if random.random() < 0.25 else ""
    return {
        "investor_id": f"inv_{pace}{random.randrange(7)}",
        "amount": _amount(random),
        "currency": "USD",
        "method": random.choice(["ach", "wire"]),
        "funding_source_id": f"fs_secret_{random.randrange(3)}",
    }


#: What is sold for 100.00 a share, and what is not sold, or not whole.
_SOLD: Final = ("AAPL", "MSFT", "SIM.PARTIAL.A")
_UNSOLD: Final = ("SIM.LAPSED.A", "SIM.CUT.A", "SIM.FAILED.A", "SIM.HALTED.A", "SIM.NONE.A")
_SHARE_PRICE: Final = 100


def _shares(random: Random, _name: str) -> Orders:
    symbols = random.choices(_SOLD, k=random.randint(1, 3))
    are_sold = random.random() < 0.7
    if not are_sold:
        symbols[random.randrange(len(symbols))] = random.choice(_UNSOLD)
    quantities = [random.randint(1, 3) for _ in symbols]
    orders: tuple[Document, ...] = tuple(
        {"symbol": symbol, "quantity": str(quantity)}
        for symbol, quantity in zip(symbols, quantities, strict=True)
    )
    return Orders(orders, _SHARE_PRICE * sum(quantities), are_sold)


BLUUM: Final = Tongue(
    provider="bluum",
    document=_of_investor,
    special={
        "fails at the bank": Special({"investor_id": "inv_failing_1"}, FAILED),
        "too poor": Special({"investor_id": "inv_poor_1"}, REJECTED),
        "not approved": Special({"investor_id": "inv_blocked_1"}, REJECTED),
        "unknown party": Special({"investor_id": "inv_unknown_1"}, REJECTED, may_stay_open=True),
        "inactive source": Special({"funding_source_id": "fs_inactive_1"}, REJECTED),
        "returned by the bank": Special({"investor_id": "inv_returned_1"}, PAID | FAILED),
        "never cancelled": Special({"investor_id": "inv_stubborn_1"}, PAID),
        "cancelled in vain": Special({"investor_id": "inv_unheeded_1"}, PAID),
        "cancelled by word alone": Special({"investor_id": "inv_untrue_1"}, PAID),
    },
    party="investor_id",
    text="description",
    poor=lambda name: {"investor_id": f"inv_poor_{name}"},
    orders=_shares,
    wrong={"an unknown way": {"method": "pigeon"}},
    told={},
    resting=frozenset({"open", "pending", "partial"}),
    reversal="transfer.withdrawal.failed",
)


def _of_account(random: Random) -> Document:
    number = random.randrange(7)
    slow = random.random() < 0.25
    method = random.choice(["ach", "ach_plaid", "wire"])
    options: Document = {
        "plaid_options": {"item_id": "item_secret_1", "account_id": "acc_secret_1"}
    }
    if method == "wire":
        options = {"wire_options": {"bank_name": "First Bank", "account_number": "0123456789"}}
    return {
        "account_id": _uuid("0bad0010" if slow else "3d0b0e65", f"account {number}"),
        "amount": _amount(random),
        "currency": "USD",
        "method": method,
        **options,
    }


def _special_account(beginning: str) -> Document:
    return {"account_id": _uuid(beginning, "special")}


BLUUM_ACCOUNTS: Final = Tongue(
    provider="bluum_accounts",
    document=_of_account,
    special={
        "fails at the bank": Special(_special_account("0bad0001"), FAILED),
        "too poor": Special(_special_account("0bad0422"), REJECTED),
        "not approved": Special(_special_account("0bad0403"), REJECTED),
        "unknown party": Special(_special_account("0bad0404"), REJECTED, may_stay_open=True),
        "returned by the bank": Special(_special_account("0bad0002"), PAID | FAILED),
        "never cancelled": Special(_special_account("0bad0409"), PAID),
        "cancelled in vain": Special(_special_account("0bad0004"), PAID),
        "cancelled by word alone": Special(_special_account("0bad0005"), PAID),
    },
    party="account_id",
    text="description",
    poor=lambda name: {"account_id": _uuid("0bad0422", name)},
    wrong={
        "an unknown way": {"method": "international_wire"},
        "another's party": {"account_id": "inv_1"},
        "another's target": {"funding_source_id": "fs_secret_1"},
        "options of both ways": {
            "plaid_options": {"item_id": "item_secret_1", "account_id": "acc_secret_1"},
            "wire_options": {"bank_name": "First Bank"},
        },
        "something to sell": {"sell": [{"symbol": "AAPL", "quantity": "1"}]},
    },
    reversal="transfer.withdrawal.failed",
)

_USER: Final = "2f0e7c1a-7f5e-4c57-9a7b-1f5f1f0d3c21"
#: What is sold, at 100.00 a share, and what is not sold, or not whole. ISINs end in a check digit.
_SOLD_ISINS: Final = ("US0378331005", "DE000BASF111", "ZZPARTIAL007")
_UNSOLD_ISINS: Final = ("ZZLAPSED0009", "ZZCUT0000003", "ZZHALTED0008", "ZZNONE000000")


def _of_account_group(random: Random) -> Document:
    slow = random.random() < 0.25
    document: Document = {
        "account_group_id": _uuid("0bad0010" if slow else "0b8f6d0e", f"{random.randrange(7)}"),
        "reference_account_id": _uuid("7c1e0d52", f"{random.randrange(3)}"),
        "amount": _amount(random),
        "currency": "EUR",
        "user_id": _USER,
    }
    if random.random() < 0.5:
        document["remittance_information"] = "Payout of the month"
    return document


def _special_group(beginning: str) -> Document:
    return {"account_group_id": _uuid(beginning, "special")}


def _units(random: Random, name: str) -> Orders:
    isins = random.choices(_SOLD_ISINS, k=random.randint(1, 3))
    are_sold = random.random() < 0.7
    if not are_sold:
        isins[random.randrange(len(isins))] = random.choice(_UNSOLD_ISINS)
    documents: list[Document] = []
    amount = 0
    for isin in isins:
        quantity = random.randint(1, 3)
        amount += _SHARE_PRICE * quantity
        # Whose cash an account's sales raise is told by the last digits that both have.
        order: Document = {"account_id": _uuid("acc00000", name), "instrument_id": isin}
        in_cash = random.random() < 0.3
        order |= (
            {"cash_amount": f"{_SHARE_PRICE * quantity}.00"}
            if in_cash
            else {"quantity": str(quantity)}
        )
        documents.append(order)
    return Orders(tuple(documents), amount, are_sold)


UPVEST: Final = Tongue(
    provider="upvest",
    document=_of_account_group,
    special={
        "cancelled by the provider": Special(_special_group("0bad0001"), CANCELLED),
        "too poor": Special(_special_group("0bad0422"), REJECTED),
        "not approved": Special(_special_group("0bad0403"), REJECTED),
        "unknown party": Special(_special_group("0bad0404"), REJECTED, may_stay_open=True),
        "returned by the bank": Special(_special_group("0bad0002"), PAID | CANCELLED),
        "never cancelled": Special(_special_group("0bad0409"), PAID),
        "cancelled in vain": Special(_special_group("0bad0004"), PAID),
    },
    party="account_group_id",
    text="remittance_information",
    poor=lambda name: {"account_group_id": _uuid("0bad0422", name)},
    orders=_units,
    wrong={
        "another currency": {"currency": "USD"},
        "more than there is": {"amount": "1000000000.00"},
        "a letter that no bank knows": {"remittance_information": "Auszahlung für Mai"},
        "another's party": {"account_group_id": "inv_1"},
        "another's target": {"funding_source_id": "fs_secret_1"},
        "a purpose of no code": {"purpose_code": "other"},
    },
    told={
        "NEW": "pending",
        "PROCESSING": "processing",
        "CONFIRMED": "completed",
        "CANCELLED": "cancelled",
    },
    resting=frozenset({"NEW", "PROCESSING"}),
    reversal="WITHDRAWAL.CANCELLED",
    has_references=False,
    has_tokens=True,
)

#: Every provider, by its name.
TONGUES: Final[Mapping[str, Tongue]] = {
    tongue.provider: tongue for tongue in (BLUUM, BLUUM_ACCOUNTS, UPVEST)
}
