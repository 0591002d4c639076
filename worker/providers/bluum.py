"""The Bluum API in both its generations (`bluum_generation`): its words, turned into ours.

Source keys in capitals (WD, IDEM, …) name pages of Bluum's documentation, as in the project's
reference. Where pages contradict each other every documented variant is read. Which answer means
what stands in `bluum_answers`; nothing here decides what follows from one."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

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
from worker.core.requests import DESCRIPTION_LIMIT
from worker.core.withdrawal import Status, reference_token
from worker.providers.answer_table import Meaning, Operation
from worker.providers.bluum_orders import BluumOrders, compose_sales
from worker.providers.bluum_replies import dialect_of, page_of, read_list, resource
from worker.providers.bluum_requests import BluumAccountsRequest, BluumRequest
from worker.providers.http import Outcome, Reply
from worker.providers.replies import DECIMAL, ID, WORD, is_success, text_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale import Sale
    from worker.providers.bluum_generation import Generation
    from worker.providers.http import Line

__all__ = ["STATUSES", "Bluum", "BluumAccountsRequest", "BluumRequest"]

_log = logging.getLogger(__name__)

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

_CURRENCY = re.compile(r"[A-Z]{3}")
_NO_DAY: Final = date(1970, 1, 1)


class Bluum(BluumOrders):
    """The provider `bluum` or `bluum_accounts`, by its generation, over one `Line`.

    `now` and `tenure` tell the time and the worker's tenure (None when it has none): both are
    asked last, after all waiting, right before a create call leaves.
    """

    def __init__(
        self,
        line: Line,
        generation: Generation,
        *,
        reference_in_description: bool,
        now: Callable[[], datetime],
        tenure: Callable[[], int | None],
    ) -> None:
        super().__init__(line, dialect_of(generation.provider), now=now, tenure=tenure)
        self.name = generation.provider
        self.shape: type[Request] = generation.shape
        self._generation = generation
        self._reference_in_description = reference_in_description

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body (WD).

        The description is the only text of ours that the API gives back, so a short token of the
        key is appended to it where it fits: an uncertain withdrawal can then be found in the list.
        """
        shape = self._generation.shape
        if not isinstance(request, shape):
            message = f"expected a {shape.__name__}, got {type(request).__name__}"
            raise TypeError(message)
        document = {
            "amount": f"{request.amount:.2f}",
            "currency": request.currency,
            "method": request.payout_method,
            **request.destination,
        }
        if text := self._description(request.description, reference_token(idempotency_key)):
            document["description"] = text
        return json.dumps(document, separators=(",", ":")).encode()

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the body of each order of a request (ORD); the older generation's have none."""
        given = request.sell if isinstance(request, BluumRequest) else ()
        return compose_sales(given, message_id, request.currency)

    async def create(self, permit: Permit) -> Answer:
        """`POST /{scope}/{id}/withdrawals` (WD) with the key (IDEM) and bytes of the permit."""
        outcome = await self._line.exchange(
            Operation.CREATE,
            "POST",
            self._path(permit.party_id),
            body=permit.body,
            headers={
                "Idempotency-Key": permit.idempotency_key,
                "Content-Type": "application/json",
            },
            may_leave=lambda: self._now() < permit.valid_until and self._tenure() == permit.tenure,
        )
        return self._answer(Operation.CREATE, outcome, expected_id=None)

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """`GET /{scope}/{id}/withdrawals/{id}` (PF)."""
        outcome = await self._read(party_id, withdrawal_id)
        return self._answer(Operation.LOOK, outcome, expected_id=withdrawal_id)

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """`GET /{scope}/{id}/withdrawals/{id}` (PF): fields as in the list (WD)."""
        outcome = await self._read(party_id, withdrawal_id)
        answer = self._answer(Operation.LOOK, outcome, expected_id=withdrawal_id)
        if not isinstance(answer, Reported):
            return answer
        entry = self._entry(resource(outcome)) if isinstance(outcome, Reply) else None
        return Unclear("unusable_entry", trace=answer.trace) if entry is None else entry

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """`POST /{scope}/{id}/withdrawals/{id}/cancel`, no body (PF, JW)."""
        outcome = await self._line.exchange(
            Operation.CANCEL, "POST", f"{self._path(party_id, withdrawal_id)}/cancel"
        )
        return self._answer(Operation.CANCEL, outcome, expected_id=withdrawal_id)

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """`GET /investors/{id}/wallets` (WAL): the larger of what may be what is withdrawable.

        Neither `available_balance` nor `cash_withdrawable` is defined for certain (section 7), so
        the smaller one proves nothing. None when no wallet of the currency could be read, and
        without a call in the generation that has none.
        """
        if not self._generation.has_wallets:
            return None
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
        """`GET /{scope}/{id}/withdrawals` (WDL) over the days given, to end a doubt."""
        return await self._list(Operation.LIST, party_id, since, until)

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the same list, in the class of looks."""
        return await self._list(Operation.SURVEY, party_id, since, until)

    async def try_credentials(self) -> bool | None:
        """Read the withdrawals of nobody: 401 refuses (AUTH), an answer in Bluum's words accepts.

        None when neither came: nobody answered, or somebody who is not Bluum.
        """
        outcome = await self._line.exchange(
            Operation.CREDENTIALS, "GET", self._path(self._generation.nobody), query={"limit": "1"}
        )
        row = self._dialect.classified(
            Operation.CREDENTIALS, outcome, usable=page_of(outcome, self._entry) is not None
        )
        return {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning)

    async def _list(
        self, operation: Operation, party_id: str, since: date, until: date
    ) -> ListAnswer:
        days = {"date_from": since.isoformat(), "date_to": until.isoformat()}
        entries = await read_list(
            self._line,
            self._dialect,
            operation,
            self._path(party_id),
            query=days,
            read=self._entry,
            identity=_id,
        )
        return Listed(entries) if isinstance(entries, tuple) else entries

    def _description(self, text: str | None, token: str) -> str | None:
        if not self._reference_in_description:
            return text
        joined = f"{text} {token}" if text else token
        return joined if len(joined) <= DESCRIPTION_LIMIT else text

    def _path(self, party_id: str, withdrawal_id: str | None = None) -> str:
        path = f"/{self._generation.scope}/{quote(party_id, safe='')}/withdrawals"
        return path if withdrawal_id is None else f"{path}/{quote(withdrawal_id, safe='')}"

    async def _read(self, party_id: str, withdrawal_id: str) -> Outcome:
        path = self._path(party_id, withdrawal_id)
        return await self._line.exchange(Operation.LOOK, "GET", path)

    def _answer(self, operation: Operation, outcome: Outcome, *, expected_id: str | None) -> Answer:
        """Turn an exchange about one withdrawal into an answer."""
        reported = self._reported_by(outcome, expected_id)
        strange = reported is not None and reported.status is None
        row = self._dialect.classified(
            operation, outcome, usable=reported is not None, strange=strange
        )
        if row.meaning is Meaning.REPORTED and reported is not None:
            return reported
        if row.meaning is Meaning.CONFLICTED:
            return Conflicted(self._dialect.trace_of(outcome))
        return self._dialect.no_success(row, outcome)

    def _reported_by(self, outcome: Outcome, expected_id: str | None) -> Reported | None:
        """Read the withdrawal that a success is about; None unless it is what was asked for."""
        if not isinstance(outcome, Reply) or not is_success(outcome):
            return None
        reported = self._reported(
            resource(outcome), request_id=outcome.request_id, status=outcome.status
        )
        is_another = reported is not None and expected_id not in {None, reported.withdrawal_id}
        return None if is_another else reported

    def _reported(
        self, document: Mapping[str, Any], *, request_id: str | None, status: int | None
    ) -> Reported | None:
        """Read one withdrawal; None without a usable id. `wd_` and `wdr_` ids are opaque (HOW)."""
        given = (document.get(name) for name in self._generation.id_names)
        identity = next((value for value in given if value is not None), None)
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

    def _entry(self, item: object) -> Entry | None:
        """Read one entry of a list; None without a usable id or amount, by which it is recognised.

        Whatever else is not in a documented form counts as not shown: a strange word must not
        make one of ours look like another's.
        """
        if not isinstance(item, dict):
            return None
        reported = self._reported(item, request_id=None, status=None)
        amount = text_of(item.get("amount"), DECIMAL)
        if reported is None or amount is None:
            return None
        method = item.get("method")
        is_known = isinstance(method, str) and method in self._generation.methods
        return Entry(
            reported=reported,
            amount=amount,
            currency=text_of(item.get("currency"), _CURRENCY),
            method=method if is_known else None,
            target_id=self._target_id(item),
            text=text_of(item.get("description")),
            text_name="description",
            created_on=_created_on(item),
            party_id=text_of(item.get(self._generation.party_name), ID),
        )

    def _target_id(self, item: Mapping[str, Any]) -> str | None:
        """Name the bank account as the request does; None unless all of its name is shown."""
        parts = [text_of(_at(item, way), ID) for way in self._generation.target]
        return ":".join(part for part in parts if part) if all(parts) else None


def _at(document: Mapping[str, Any], way: tuple[str, ...]) -> object:
    """Follow a way of names into a document."""
    found: object = document
    for name in way:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _id(entry: Entry) -> str:
    return entry.reported.withdrawal_id


def _created_on(item: Mapping[str, Any]) -> date | None:
    """Read the day of creation: unix seconds (WD), or ISO under one of its names (JW, G2)."""
    created = item.get("created")
    try:
        if isinstance(created, int | float) and not isinstance(created, bool):
            day = datetime.fromtimestamp(created, UTC).date()
        else:
            names = ("created_at", "initiated_at", "submitted_at")
            text = next((item[name] for name in names if item.get(name)), None)
            day = datetime.fromisoformat(text).date() if isinstance(text, str) else _NO_DAY
    except (ValueError, OverflowError, OSError):
        return None
    # Servers write zero, or the year 1, where they mean that there is none.
    return day if day > _NO_DAY else None
