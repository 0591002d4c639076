"""What a client gets back: the bank's values as Bluum's JSON (sources WD, WAL, INV, FS, HOW, REF).

Pure. Money leaves as a string with two decimals, never as a number; how Bluum writes an amount
that came with fewer decimals is undocumented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from worker.simulator.bluum_generation import INVESTOR_SCOPED, AnswerShape
from worker.simulator.bluum_refusals import Code
from worker.simulator.bluum_terms import BLOCKED, INACTIVE
from worker.simulator.bluum_withdrawal import Method, Status
from worker.simulator.clock import instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from worker.simulator.bluum_generation import Generation
    from worker.simulator.bluum_refusals import Refusal
    from worker.simulator.bluum_wallets import Wallet
    from worker.simulator.bluum_withdrawal import Page, Withdrawal

Document: TypeAlias = dict[str, Any]

#: The currency in which an investor's own balance is told (INV names none).
_HOME_CURRENCY: Final = "USD"

#: What ACH's `alpaca_status` says beside a status. WD's sample has QUEUED; the rest is invented.
_ALPACA_STATUSES: Final[Mapping[Status, str]] = {
    Status.PENDING: "QUEUED",
    Status.PROCESSING: "SENT_TO_CLEARING",
    Status.SUBMITTED: "SENT_TO_CLEARING",
    Status.COMPLETED: "COMPLETE",
    Status.CANCELLED: "CANCELED",
    Status.FAILED: "RETURNED",
}


def withdrawal_document(
    withdrawal: Withdrawal, *, now: datetime, generation: Generation = INVESTOR_SCOPED
) -> Document:
    """Return a withdrawal as it stands at `now` (WD; WDG's older copy)."""
    write = _older_withdrawal if generation.is_older else _current_withdrawal
    return write(withdrawal, now) | {"status": generation.word(withdrawal.status(now))}


def _current_withdrawal(withdrawal: Withdrawal, now: datetime) -> Document:
    instruction = withdrawal.instruction
    status = withdrawal.status(now)
    return envelope(
        withdrawal.id, "withdrawal", created=int(withdrawal.executed_at.timestamp())
    ) | {
        "investor_id": withdrawal.investor_id,
        "wallet_id": withdrawal.wallet_id,
        "funding_source_id": instruction.funding_source_id,
        "method": instruction.method,
        "status": status,
        "amount": money(instruction.amount),
        "currency": instruction.currency,
        "description": instruction.description,
        "method_details": _method_details(withdrawal, status),
        "destination_details": None,
        "initiated_at": instant(withdrawal.executed_at),
        # Whether it survives a reversal is undocumented; here it does not.
        "completed_at": instant(withdrawal.ends_at) if status is Status.COMPLETED else None,
        "failure_reason": withdrawal.failure_reason if status is Status.FAILED else None,
    }


def _older_withdrawal(withdrawal: Withdrawal, now: datetime) -> Document:
    """Bare, with ISO times and camelCase inside (G2); what else it may show is not documented."""
    instruction = withdrawal.instruction
    status = withdrawal.status(now)
    submitted_at = withdrawal.submitted_at
    is_submitted = submitted_at is not None and submitted_at <= now
    details = _method_details(withdrawal, status)
    return {
        "withdrawal_id": withdrawal.id,
        "account_id": withdrawal.investor_id,
        "method": instruction.method,
        "status": status,
        "amount": money(instruction.amount),
        "currency": instruction.currency,
        "description": instruction.description,
        "method_details": details and {_camel(name): text for name, text in details.items()},
        "destination_details": {"bankName": "Demo Bank", "accountMask": "6789"},
        "created_at": instant(withdrawal.executed_at),
        "initiated_at": instant(withdrawal.executed_at),
        "submitted_at": instant(submitted_at) if submitted_at and is_submitted else None,
        "completed_at": instant(withdrawal.ends_at) if status is Status.COMPLETED else None,
        "failure_reason": withdrawal.failure_reason if status is Status.FAILED else None,
    }


def page_document(
    page: Page, *, investor_id: str, now: datetime, generation: Generation = INVESTOR_SCOPED
) -> Document:
    """Return a page of withdrawals in the list envelope (HOW), or with a `total` (WDL, G2)."""
    data = [
        withdrawal_document(withdrawal, now=now, generation=generation)
        for withdrawal in page.withdrawals
    ]
    if generation.is_older:
        return {"data": data, "total": page.total}
    return list_document(f"/v1/investors/{investor_id}/withdrawals", data, has_more=page.has_more)


def wallet_document(wallet: Wallet) -> Document:
    """Return one wallet (WAL)."""
    available = money(wallet.available)
    return envelope(wallet.id, "wallet") | {
        "currency": wallet.currency,
        "balance": money(wallet.balance),
        "available_balance": available,
        "reserved_balance": money(wallet.reserved),
        "cash_withdrawable": money(wallet.withdrawable),
        "buying_power": available,
        "equity": money(wallet.balance),
        "status": "active",
    }


def wallets_document(wallets: Sequence[Wallet], *, investor_id: str) -> Document:
    """Return an investor's wallets in the list envelope (WAL)."""
    data = [wallet_document(wallet) for wallet in wallets]
    return list_document(f"/v1/investors/{investor_id}/wallets", data)


def investor_document(investor_id: str, wallets: Sequence[Wallet]) -> Document:
    """Return an investor with its balance in US dollars (INV)."""
    home = next(wallet for wallet in wallets if wallet.currency == _HOME_CURRENCY)
    return envelope(investor_id, "investor") | {
        "balance": money(home.balance),
        "cash_withdrawable": money(home.withdrawable),
        "status": "under_review" if investor_id.startswith(BLOCKED) else "active",
    }


def funding_sources_document(investor_id: str, *, kind: str) -> Document:
    """Return two active funding sources and an inactive one; `kind` is plaid, manual or all (FS).

    The manual one carries an invented account number, because the real resource does: a client
    that logs this document is to be caught.
    """
    suffix = investor_id.removeprefix("inv_")
    manual = {"wire_payout_complete": True, "account_number": "000123456789"}
    plaid = {"wire_payout_complete": False}
    data = [
        _funding_source(f"fs_plaid_{suffix}", "plaid", "active", plaid),
        _funding_source(f"fs_manual_{suffix}", "manual", "active", manual),
        _funding_source(f"{INACTIVE[0]}_{suffix}", "plaid", "disconnected", plaid),
    ]
    wanted = [source for source in data if kind in ("all", source["type"])]
    return list_document(f"/v1/investors/{investor_id}/funding-sources", wanted)


def refusal_document(refusal: Refusal) -> Document:
    """Return a refusal in the nested envelope, the current one (REF)."""
    return {
        "error": {
            "type": refusal.type,
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
        }
    }


def older_error(document: Document, shape: AnswerShape) -> Document:
    """Rewrite an error in one of the older envelopes (ERR, CODES; ORD, NB).

    Flat, or with `status`; what concerns the relationship with the bank is a text alone (NB).
    """
    error = document["error"]
    if error["param"] == "plaid_options" and error["code"] == Code.INVALID:
        return {"error": error["message"]}
    flat = {"code": error["code"], "message": error["message"]}
    return {"status": "error"} | flat if shape is AnswerShape.STATUS else flat


def enveloped(document: Document, shape: AnswerShape) -> Document:
    """Put what is around answers about withdrawals around one; a list is in `data` already."""
    status = {"status": "success"} if shape is AnswerShape.STATUS else {}
    if shape is AnswerShape.BARE or "data" in document:
        return status | document
    return status | {"data": document}


def envelope(identifier: str, kind: str, *, created: int | None = None) -> Document:
    """Return what every resource begins with (HOW)."""
    return {
        "id": identifier,
        "object": kind,
        "created": created,
        "livemode": False,
        "metadata": {},
    }


def list_document(url: str, data: list[Document], *, has_more: bool = False) -> Document:
    """Return the list envelope (HOW)."""
    return {"object": "list", "url": url, "has_more": has_more, "data": data}


def money(amount: Decimal) -> str:
    """Write an amount of money as Bluum's decimal string."""
    return f"{amount:.2f}"


def _method_details(withdrawal: Withdrawal, status: Status) -> Document | None:
    transfer = "t-" + withdrawal.id.partition("_")[2]
    match withdrawal.instruction.method:
        case Method.ACH | Method.ACH_PLAID:
            return {
                "provider_name": "alpaca",
                "transfer_id": transfer,
                "alpaca_status": _ALPACA_STATUSES[status],
            }
        case Method.INTERNATIONAL_WIRE:
            return {
                "provider_name": "alpaca",
                "recipient_bank_action": "created",
                "alpaca_bank_id": transfer,
            }
        case Method.MANUAL_BANK_TRANSFER:
            return {"provider_name": "manual", "external_withdrawal_id": transfer}
        case Method.WIRE:
            # WD shows no details for a plain wire.
            return None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _funding_source(identifier: str, kind: str, status: str, details: Document) -> Document:
    return (
        envelope(identifier, "funding_source")
        | {"type": kind, "status": status, "bank_name": "Demo Bank", "mask": "6789"}
        | details
        | {"updated_at": None}
    )
