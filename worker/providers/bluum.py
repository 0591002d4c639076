"""The Bluum API, investor-scoped generation (G3 of the reference): its words, turned into ours.

Source keys in capitals (WD, IDEM, …) name pages of Bluum's documentation, as in the project's
reference. Where pages contradict each other every documented variant is read. Which answer means
what stands in `bluum_answers`; nothing here decides what follows from one."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import quote

from pydantic import Field

from worker.core.answers import (
    Answer,
    Conflicted,
    Entry,
    EntryAnswer,
    ListAnswer,
    Listed,
    Reported,
    Trace,
    Unclear,
)
from worker.core.requests import DESCRIPTION_LIMIT, Description, Identifier, Request
from worker.core.withdrawal import Status, reference_token
from worker.providers.answer_table import Meaning, Operation
from worker.providers.bluum_orders import BluumOrders, Orders, compose_sales
from worker.providers.bluum_replies import DIALECT, page_of, read_list
from worker.providers.http import Outcome, Reply
from worker.providers.replies import DECIMAL, ID, WORD, is_success, text_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.decide import Permit
    from worker.core.sale import Sale
    from worker.providers.http import Line

_log = logging.getLogger(__name__)

#: How money travels (WD).
Method = Literal["ach", "wire", "international_wire", "manual_bank_transfer"]
METHODS: Final = frozenset(get_args(Method))

#: Every documented word, in both spellings (CF, WD; WDL's internal set). Others are unclear.
STATUSES: Final[Mapping[str, Status]] = {
    "pending": Status.PENDING,
    "processing": Status.PROCESSING,
    "submitted": Status.SUBMITTED,
    "completed": Status.COMPLETED,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
    "failed": Status.FAILED,
}

#: No investor has this id; asking for it reads nothing and still needs valid credentials.
_NOBODY: Final = "inv_credentials_check"

_CURRENCY = re.compile(r"[A-Z]{3}")
_NO_DAY: Final = date(1970, 1, 1)


class BluumRequest(Request):
    """The request body for `"provider": "bluum"` (contract section 2; fields as in WD)."""

    provider: Literal["bluum"]
    investor_id: Identifier
    method: Method
    funding_source_id: Identifier = Field(repr=False)
    description: Description = Field(default=None, repr=False)
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


class Bluum(BluumOrders):
    """The provider `bluum`, over one `Line`.

    `now` and `tenure` tell the time and the worker's tenure (None when it has none): both are
    asked last, after all waiting, right before a create call leaves.
    """

    name = "bluum"
    shape: type[Request] = BluumRequest

    def __init__(
        self,
        line: Line,
        *,
        reference_in_description: bool,
        now: Callable[[], datetime],
        tenure: Callable[[], int | None],
    ) -> None:
        super().__init__(line, now=now, tenure=tenure)
        self._reference_in_description = reference_in_description

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body (WD).

        The description is the only text of ours that the API gives back, so a short token of the
        key is appended to it where it fits: an uncertain withdrawal can then be found in the list.
        """
        if not isinstance(request, BluumRequest):
            message = f"expected a BluumRequest, got {type(request).__name__}"
            raise TypeError(message)
        document = {
            "amount": f"{request.amount:.2f}",
            "currency": request.currency,
            "method": request.method,
            "funding_source_id": request.funding_source_id,
        }
        if text := self._description(request.description, reference_token(idempotency_key)):
            document["description"] = text
        return json.dumps(document, separators=(",", ":")).encode()

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the body of each order of a request (ORD)."""
        given = request.sell if isinstance(request, BluumRequest) else ()
        return compose_sales(given, message_id, request.currency)

    async def create(self, permit: Permit) -> Answer:
        """`POST /investors/{id}/withdrawals` (WD) with the key (IDEM) and bytes of the permit."""
        outcome = await self._line.exchange(
            Operation.CREATE,
            "POST",
            _path(permit.party_id),
            body=permit.body,
            headers={
                "Idempotency-Key": permit.idempotency_key,
                "Content-Type": "application/json",
            },
            may_leave=lambda: self._now() < permit.valid_until and self._tenure() == permit.tenure,
        )
        return _answer(Operation.CREATE, outcome, expected_id=None)

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """`GET /investors/{id}/withdrawals/{id}` (PF)."""
        outcome = await self._line.exchange(Operation.LOOK, "GET", _path(party_id, withdrawal_id))
        return _answer(Operation.LOOK, outcome, expected_id=withdrawal_id)

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """`GET /investors/{id}/withdrawals/{id}` (PF): fields as in the list (WD)."""
        outcome = await self._line.exchange(Operation.LOOK, "GET", _path(party_id, withdrawal_id))
        answer = _answer(Operation.LOOK, outcome, expected_id=withdrawal_id)
        if not isinstance(answer, Reported):
            return answer
        entry = _entry(outcome.document) if isinstance(outcome, Reply) else None
        return Unclear("unusable_entry", trace=answer.trace) if entry is None else entry

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """`POST /investors/{id}/withdrawals/{id}/cancel`, no body (PF, JW)."""
        outcome = await self._line.exchange(
            Operation.CANCEL, "POST", f"{_path(party_id, withdrawal_id)}/cancel"
        )
        return _answer(Operation.CANCEL, outcome, expected_id=withdrawal_id)

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """`GET /investors/{id}/wallets` (WAL): the larger of what may be what is withdrawable.

        Neither `available_balance` nor `cash_withdrawable` is defined for certain (section 7), so
        the smaller one proves nothing. None when no wallet of the currency could be read.
        """
        path = f"/investors/{quote(party_id, safe='')}/wallets"
        outcome = await self._line.exchange("wallet", "GET", path)
        if not isinstance(outcome, Reply) or not is_success(outcome):
            return None
        wallets = (outcome.document or {}).get("data")
        amounts = [
            Decimal(text)
            for wallet in (wallets if isinstance(wallets, list) else [])
            if isinstance(wallet, dict) and wallet.get("currency") == currency
            for name in ("available_balance", "cash_withdrawable")
            if (text := text_of(wallet.get(name), DECIMAL)) is not None
        ]
        return max(amounts, default=None)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """`GET /investors/{id}/withdrawals` (WDL) over the days given, to end a doubt."""
        return await self._list(Operation.LIST, party_id, since, until)

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the same list, in the class of looks."""
        return await self._list(Operation.SURVEY, party_id, since, until)

    async def try_credentials(self) -> bool | None:
        """Read the withdrawals of nobody: 401 refuses (AUTH), an answer in Bluum's words accepts.

        None when neither came: nobody answered, or somebody who is not Bluum.
        """
        outcome = await self._line.exchange(
            Operation.CREDENTIALS, "GET", _path(_NOBODY), query={"limit": "1"}
        )
        row = DIALECT.classified(
            Operation.CREDENTIALS, outcome, usable=page_of(outcome, _entry) is not None
        )
        return {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning)

    async def _list(
        self, operation: Operation, party_id: str, since: date, until: date
    ) -> ListAnswer:
        days = {"date_from": since.isoformat(), "date_to": until.isoformat()}
        entries = await read_list(
            self._line, operation, _path(party_id), query=days, read=_entry, identity=_id
        )
        return Listed(entries) if isinstance(entries, tuple) else entries

    def _description(self, text: str | None, token: str) -> str | None:
        if not self._reference_in_description:
            return text
        joined = f"{text} {token}" if text else token
        return joined if len(joined) <= DESCRIPTION_LIMIT else text


def _path(party_id: str, withdrawal_id: str | None = None) -> str:
    path = f"/investors/{quote(party_id, safe='')}/withdrawals"
    return path if withdrawal_id is None else f"{path}/{quote(withdrawal_id, safe='')}"


def _answer(operation: Operation, outcome: Outcome, *, expected_id: str | None) -> Answer:
    """Turn an exchange about one withdrawal into an answer."""
    reported = _reported_by(outcome, expected_id)
    strange = reported is not None and reported.status is None
    row = DIALECT.classified(operation, outcome, usable=reported is not None, strange=strange)
    if row.meaning is Meaning.REPORTED and reported is not None:
        return reported
    if row.meaning is Meaning.CONFLICTED:
        return Conflicted(DIALECT.trace_of(outcome))
    return DIALECT.no_success(row, outcome)


def _reported_by(outcome: Outcome, expected_id: str | None) -> Reported | None:
    """Read the withdrawal that a success is about; None unless it is the one that was asked for."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    reported = _reported(
        outcome.document or {}, request_id=outcome.request_id, status=outcome.status
    )
    is_another = reported is not None and expected_id not in {None, reported.withdrawal_id}
    return None if is_another else reported


def _reported(
    document: Mapping[str, Any], *, request_id: str | None, status: int | None
) -> Reported | None:
    """Read one withdrawal; None without a usable id. `wd_` and `wdr_` ids are opaque (HOW)."""
    identity = document.get("id")
    if identity is None:
        identity = document.get("withdrawal_id")
    if not isinstance(identity, str) or not ID.fullmatch(identity):
        return None
    word = text_of(document.get("status"), WORD)
    return Reported(
        withdrawal_id=identity,
        status=STATUSES.get(word or ""),
        provider_status=word,
        trace=Trace(
            http_status=status,
            request_id=request_id,
            text=told(document.get("failure_reason")),
        ),
    )


def _entry(item: object) -> Entry | None:
    """Read one entry of a list; None without a usable id or amount, by which it is recognised.

    Whatever else is not in a documented form counts as not shown: a strange word must not make
    one of ours look like another's.
    """
    if not isinstance(item, dict):
        return None
    reported = _reported(item, request_id=None, status=None)
    amount = text_of(item.get("amount"), DECIMAL)
    if reported is None or amount is None:
        return None
    method = item.get("method")
    return Entry(
        reported=reported,
        amount=amount,
        currency=text_of(item.get("currency"), _CURRENCY),
        method=method if isinstance(method, str) and method in METHODS else None,
        target_id=text_of(item.get("funding_source_id"), ID),
        text=text_of(item.get("description")),
        created_on=_created_on(item),
        party_id=text_of(item.get("investor_id"), ID),
    )


def _id(entry: Entry) -> str:
    return entry.reported.withdrawal_id


def _created_on(item: Mapping[str, Any]) -> date | None:
    """Read the day of creation: `created` in unix seconds (WD) or `created_at` as ISO (JW)."""
    created = item.get("created")
    try:
        if isinstance(created, int | float) and not isinstance(created, bool):
            day = datetime.fromtimestamp(created, UTC).date()
        else:
            text = item.get("created_at") or item.get("initiated_at")
            day = datetime.fromisoformat(text).date() if isinstance(text, str) else _NO_DAY
    except (ValueError, OverflowError, OSError):
        return None
    # Servers write zero, or the year 1, where they mean that there is none.
    return day if day > _NO_DAY else None
