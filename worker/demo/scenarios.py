"""What the demo asks for, and how each of it has to end.

Data only: messages and expectations. When and how they are published is not said here."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.demo.audit import ENDS
from worker.demo.scenario import (
    JSON,
    REVERSAL,
    Deposit,
    Forgery,
    Message,
    Return,
    Scenario,
    Start,
    Turn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How long after a withdrawal has moved the worker looks at it, unless it is told to.
FIRST_LOOK: Final = timedelta(seconds=6)
#: The same after its end: hardly less than a day.
_LATE_LOOK: Final = timedelta(hours=20)

_METHODS: Final = ("ach", "wire", "international_wire", "manual_bank_transfer")
_MESSAGES_EACH: Final = 10
_PAID: Final = frozenset({"completed", "failed"})
_CANCELLED: Final = frozenset({"cancelled"})
_TAKEN_IN: Final = frozenset({"received"})
_PENDING: Final = frozenset({"pending"})
_WAITING: Final = frozenset({"awaiting_funds"})
_FOR_EVER: Final = "2099-12-31T00:00:00Z"

_ACCOUNT: Final[dict[str, Any]] = {
    "provider": "bluum_accounts",
    "account_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
    "amount": "125.50",
    "currency": "USD",
}
#: To the simulator 0bad0422 means a group with 1.00 in it, and the account's end whose it is.
_UPVEST: Final[dict[str, Any]] = {
    "provider": "upvest",
    "account_group_id": "0bad0422-58f1-4b7b-8a53-6f2f0f7a2c22",
    "reference_account_id": "7c1e0d52-1a57-4c8e-9a0a-3f5d1f0c9b11",
    "user_id": "5d0a7f64-2b1c-4f0e-8d43-9f1b2c3d4e55",
    "amount": "450.00",
    "currency": "EUR",
    "remittance_information": "Monthly withdrawal",
}
_UPVEST_ACCOUNT: Final = "11111111-58f1-4b7b-8a53-6f2f0f7a2c22"


def _request(number: int, **changes: object) -> dict[str, Any]:
    return {
        "provider": "bluum",
        "investor_id": f"inv_{number % 8 + 1:02}",
        "amount": f"{25 + 17 * number}.{number % 4 * 25:02}",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": f"fs_{number % 8 + 1:02}",
        "description": "Monthly withdrawal",
    } | changes


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _message(name: str | None, number: int = 1, **changes: object) -> Message:
    return Message(name=name, body=_written(_request(number, **changes)))


def _cancel(request: str) -> Message:
    body = _written({"request_message_id": request, "reason": "the customer changed their mind"})
    return Message(name=f"cancel-{request}", body=body, cancels=request)


def _all_methods() -> Scenario:
    messages = tuple(
        _message(f"{method}-{number:02}", number, method=method)
        for number in range(1, _MESSAGES_EACH + 1)
        for method in _METHODS
    )
    title = "All four methods"
    return Scenario(title=title, messages=messages, ends=_PAID, withdrawals=len(messages))


def _cloud_events() -> Scenario:
    binary = Message(
        name="cloud-event-binary",
        is_property=False,
        body=_written(_request(3)),
        headers={
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": "cloud-event-binary",
            "cloudEvents:type": "com.example.withdrawal.requested",
            "cloudEvents:source": "/demo",
        },
        wants_answer=True,
    )
    structured = Message(
        name="cloud-event-structured",
        is_property=False,
        content_type="application/cloudevents+json",
        body=_written(
            {
                "specversion": "1.0",
                "id": "cloud-event-structured",
                "type": "com.example.withdrawal.requested",
                "source": "/demo",
                "datacontenttype": JSON,
                "data": _request(4),
            }
        ),
        wants_answer=True,
    )
    title = "CloudEvents, reply_to"
    return Scenario(title=title, messages=(binary, structured), ends=_PAID, withdrawals=2)


def _repeated() -> Scenario:
    message = _message("again", 6)
    return Scenario(
        title="Sent again, and again",
        messages=(message,),
        turns=(Turn(_TAKEN_IN, message), Turn(ENDS, message)),
        ends=_PAID,
        withdrawals=1,
    )


def _by_account() -> Scenario:
    plaid = {"plaid_options": {"item_id": "item_1", "account_id": "acc_1"}}
    wire = {"wire_options": {"account_number": "000123456", "routing_number": "021000021"}}
    messages = tuple(
        Message(name=f"account-{method}", body=_written(_ACCOUNT | {"method": method} | options))
        for method, options in (("ach_plaid", plaid), ("ach", plaid), ("wire", wire))
    )
    title = "Bluum, account-scoped"
    return Scenario(title=title, messages=messages, ends=_PAID, withdrawals=len(messages))


def _at_upvest() -> Scenario:
    # The account group holds 1.00, a share is worth 100.00; its cash comes when it is settled.
    order = {"account_id": _UPVEST_ACCOUNT, "instrument_id": "US0378331005", "quantity": "5"}
    body = _written(_UPVEST | {"sell": [order]})
    return Scenario(
        title="Upvest: sold and settled",
        messages=(Message(name="upvest", body=body),),
        ends=frozenset({"completed"}),
        withdrawals=1,
        told={"raising_cash": 1},
        effects={"order": 1, "fill": 1, "settlement": 1},
        filled=("5",),
    )


def _sale() -> Scenario:
    # The wallet holds 1.00, a share is worth 100.00; the second order is filled in two halves.
    sell = [{"symbol": "ACME", "quantity": "3"}, {"symbol": "SIM.PARTIAL", "quantity": "2"}]
    message = _message("sell-first", investor_id="inv_poor_sale", amount="500.00", sell=sell)
    return Scenario(
        title="Sale, then withdrawal",
        messages=(message,),
        ends=_PAID,
        withdrawals=1,
        told={"raising_cash": 1},
        effects={"order": 2, "fill": 3},
        filled=("3", "2"),
    )


def _waiting(title: str, name: str, turn: Turn, **outcome: Any) -> Scenario:  # noqa: ANN401 - fields
    message = _message(
        name, investor_id=f"inv_poor_{name}", amount="75.00", wait_for_funds_until=_FOR_EVER
    )
    return Scenario(
        title=title, messages=(message,), turns=(turn,), told={"awaiting_funds": 1}, **outcome
    )


def _cancelled_in_time() -> Scenario:
    cancel = _cancel("regretted")
    return Scenario(
        title="Cancelled (asked twice)",
        messages=(_message("regretted", investor_id="inv_slow_01"),),
        turns=(Turn(_PENDING, cancel), Turn(_CANCELLED, cancel)),
        ends=_CANCELLED,
        withdrawals=1,
        effects={"cancel": 1},
    )


def _cancelled_too_late() -> Scenario:
    return Scenario(
        title="Cancelled too late",
        messages=(_message("too-late", investor_id="inv_stubborn_01"),),
        turns=(Turn(_PENDING, _cancel("too-late")),),
        ends=_PAID,
        withdrawals=1,
        told={"cancel_refused": 1},
    )


def _taken_back() -> Scenario:
    return Scenario(
        title="Taken back by the bank",
        messages=(_message("taken-back", investor_id="inv_09"),),
        turns=(Turn(frozenset({"completed"}), Return()),),
        ends=frozenset({"failed"}),
        withdrawals=1,
        told={REVERSAL: 1},
        effects={"reversal": 1},
        unlooked_for=_LATE_LOOK,
    )


def _hastened() -> Scenario:
    # Nobody else is paid to this investor: the worker reads all of one investor together.
    return Scenario(
        title="Hastened by a webhook",
        messages=(_message("hastened", investor_id="inv_10"),),
        start=Start.RESTARTED,
        ends=_PAID,
        withdrawals=1,
        unlooked_for=FIRST_LOOK,
    )


def _forged() -> Scenario:
    return Scenario(
        title="Forged webhook",
        messages=(_message("forged", investor_id="inv_11"),),
        turns=(Turn(_PENDING, Forgery()),),
        ends=frozenset({"completed"}),
        withdrawals=1,
        refusals=(401,),
    )


#: Bluum refuses its list, too, to whom it does not know.
UNKNOWN: Final = _message("unknown", investor_id="inv_unknown_01")
SCENARIOS: Final = (
    _waiting(
        "Waits for funds",
        "short",
        Turn(_WAITING, Deposit("inv_poor_short", "200.00")),
        ends=_PAID,
        withdrawals=1,
    ),
    _waiting(
        "Cancelled while it waits",
        "given-up",
        Turn(_WAITING, _cancel("given-up")),
        ends=_CANCELLED,
    ),
    _sale(),
    _cancelled_in_time(),
    _cancelled_too_late(),
    Scenario(
        title="Cancel of the unknown",
        messages=(_cancel("never-sent"),),
        told={"cancel_refused": 1},
    ),
    _taken_back(),
    _hastened(),
    _forged(),
    _all_methods(),
    _cloud_events(),
    _repeated(),
    _by_account(),
    _at_upvest(),
    Scenario(
        title="Same id, another amount",
        messages=(_message("reused", amount="10.00"), _message("reused", amount="99.00")),
        ends=_PAID,
        withdrawals=1,
        dead_letters=("message_id_reused",),
    ),
    Scenario(
        title="Fails at the provider",
        messages=(_message("failing", investor_id="inv_failing_01"),),
        ends=frozenset({"failed"}),
        withdrawals=1,
    ),
    Scenario(
        title="Refused by the provider",
        messages=(
            _message("poor", investor_id="inv_poor_01"),
            UNKNOWN,
            _message("blocked", investor_id="inv_blocked_01"),
        ),
    ),
    Scenario(
        title="Bad amount, no id",
        messages=(_message("number", amount=500.0), _message(None, 7)),
        dead_letters=("invalid", "missing_message_id"),
    ),
    Scenario(
        title="Not JSON, after all that",
        messages=(Message(name="malformed", body=b'{"provider":"bluum","amount":'),),
        dead_letters=("malformed",),
        start=Start.LAST,
    ),
)
