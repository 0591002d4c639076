"""The Upvest Investment API: its words, turned into ours.

Source keys in capitals (WREF, PWH, …) name pages of Upvest's documentation, as in the project's
reference. Where pages contradict each other every documented variant is read. Which answer means
what stands in `upvest_answers`; nothing here decides what follows from one, signs a call or gets a
token."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from urllib.parse import quote

from worker.core.answers import (
    Answer,
    Conflicted,
    Entry,
    EntryAnswer,
    ListAnswer,
    Listed,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.withdrawal import Reason, ReasonCode, Status, reference_token
from worker.providers.answer_table import Meaning, Operation
from worker.providers.http import Outcome, Reply, Silence
from worker.providers.replies import DECIMAL, ID, WORD, is_success, text_of
from worker.providers.upvest_access import NOT_GRANTED, Scope
from worker.providers.upvest_orders import UpvestOrders, bare, compose_sales
from worker.providers.upvest_replies import DIALECT, page_of, read_list, time_of
from worker.providers.upvest_requests import REMITTANCE_LIMIT, UpvestRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale import Sale
    from worker.providers.upvest_access import UpvestAccess

_log = logging.getLogger(__name__)

#: Every documented word (PWH, WREF). Others are unclear. CONFIRMED is not final: a bank may reject
#: a withdrawal afterwards (S26), which is a reversal.
STATUSES: Final[Mapping[str, Status]] = {
    "NEW": Status.PENDING,
    "PROCESSING": Status.PROCESSING,
    "CONFIRMED": Status.COMPLETED,
    "CANCELLED": Status.CANCELLED,
}

#: Why it was cancelled, by every documented word (S26). OTHER is of historical data only.
REASONS: Final[Mapping[str, ReasonCode]] = {
    "CANCELLED_BY_BANK": ReasonCode.CANCELLED_BY_BANK,
    "CANCELLED_BY_UPVEST": ReasonCode.CANCELLED_BY_PROVIDER,
    "CANCELLED_BY_CLIENT": ReasonCode.CANCELLED_AT_PROVIDER,
    "OTHER": ReasonCode.CANCELLED_AT_PROVIDER,
}

_CURRENCY = re.compile(r"[A-Z]{3}")
#: A balance (S26): up to 27 decimals, and it may be negative.
_BALANCE = re.compile(r"-?[0-9]{1,63}(\.[0-9]{1,27})?")

#: No account group has this id; asking for it reads nothing and still needs valid credentials.
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
#: The words of a refusal that may be about funds, where it does not say so (section 14).
_PERHAPS_FUNDS: Final = frozenset({400, 422})
#: The words of a refused cancellation that are about the state.
_ABOUT_STATE: Final = frozenset({409, 422})
#: Of these, and of all from there on, another answer may come in a moment.
_PASSING: Final = frozenset({401, 408, 425, 429})
_SERVER_ERRORS: Final = 500
#: For so long a refusal that the balance did not explain yet is left alone.
_UNEXPLAINED_FOR: Final = timedelta(seconds=10)
#: How much further back than asked for a list is read: clocks, and entries out of order.
_SLACK: Final = timedelta(days=1)


class Upvest(UpvestOrders):
    """The provider `upvest`, over one `UpvestAccess`.

    `now` and `tenure` tell the time and the worker's tenure (None when it has none): both are
    asked last, after all waiting, right before a create call leaves.
    """

    name = "upvest"
    shape: type[Request] = UpvestRequest

    def __init__(
        self,
        access: UpvestAccess,
        *,
        reference_in_remittance: bool,
        now: Callable[[], datetime],
        tenure: Callable[[], int | None],
    ) -> None:
        super().__init__(access, now=now, tenure=tenure)
        self._reference_in_remittance = reference_in_remittance

    @property
    def access(self) -> UpvestAccess:
        """What it calls Upvest by."""
        return self._access

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body (WREF), the amount with two decimals.

        The remittance information is the customer's, who sees it on the statement. Where it was
        chosen so, a short token of the key is appended to it if there is room: it is the only text
        of ours that the API gives back.
        """
        if not isinstance(request, UpvestRequest):
            message = f"expected an UpvestRequest, got {type(request).__name__}"
            raise TypeError(message)
        text = self._remittance(request.remittance_information, reference_token(idempotency_key))
        document = {
            "reference_account_id": request.reference_account_id,
            "account_group_id": request.account_group_id,
            "user_id": request.user_id,
            "amount": f"{request.amount:.2f}",
            "currency": request.currency,
            "remittance_information": text or None,
            "purpose_code": request.purpose_code,
        }
        given = {name: value for name, value in document.items() if value is not None}
        return json.dumps(given, separators=(",", ":")).encode()

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the body of each order of a request."""
        if not isinstance(request, UpvestRequest) or request.user_id is None:
            return ()
        return compose_sales(
            request.sell, message_id, user_id=request.user_id, currency=request.currency
        )

    async def create(self, permit: Permit) -> Answer:
        """`POST /payments/withdrawals` (WREF) with the key (IDEM) and bytes of the permit.

        Which refusal is about funds is not documented. After one that may be, the balance is read:
        where less is available than was asked for, the request may wait for funds. That errs to
        the safe side: nothing was withdrawn either way. Where the balance suffices, the cash may
        have come after the refusal: the same call is made once more, and a second refusal beside a
        balance that suffices is the end. While the balance cannot be read at this moment, the
        refusal is no end either: it was not executed, and is asked for again.
        """
        answer = await self._create(permit)
        if not _may_be_about_funds(answer):
            return answer
        if (explained := await self._explained(answer, permit)) is not None:
            return explained
        again = await self._create(permit)
        if not _may_be_about_funds(again):
            return again
        return await self._explained(again, permit) or again

    async def _create(self, permit: Permit) -> Answer:
        outcome = await self._access.exchange(
            Operation.CREATE,
            "POST",
            _PATH,
            scope=Scope.PAYMENTS_ADMIN,
            body=permit.body,
            headers={"Idempotency-Key": bare(permit.idempotency_key)},
            may_leave=lambda: self._now() < permit.valid_until and self._tenure() == permit.tenure,
        )
        return _answer(Operation.CREATE, outcome, party_id=permit.party_id)

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """`GET /payments/withdrawals/{id}` (WREF)."""
        outcome = await self._read(withdrawal_id)
        return _answer(Operation.LOOK, outcome, withdrawal_id, party_id)

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """`GET /payments/withdrawals/{id}` (WREF): fields as in the list.

        The path names no account group, so another one's is found too; it is none of this party's.
        """
        outcome = await self._read(withdrawal_id)
        answer = _answer(Operation.LOOK, outcome, withdrawal_id)
        if not isinstance(answer, Reported):
            return answer
        entry = _entry(outcome.document) if isinstance(outcome, Reply) else None
        if entry is None:
            return Unclear("unusable_entry", trace=answer.trace)
        if entry.party_id not in {None, party_id}:
            return Refused(Reason(ReasonCode.NOT_FOUND), answer.trace)
        return entry

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """`DELETE /payments/withdrawals/{id}` (WREF, WG): 204 without a body, only while NEW.

        A refusal because of the state stands only where a look shows that it has moved on. Where
        that still says NEW, what was read is old (no state is there at once, SIM), perhaps because
        an earlier call has cancelled it already, or the refusal will not last; and where nothing
        can be read, nobody knows. Neither says that it is too late.
        """
        outcome = await self._access.exchange(
            Operation.CANCEL,
            "DELETE",
            _path(withdrawal_id),
            scope=Scope.PAYMENTS_ADMIN,
        )
        answer = _answer(Operation.CANCEL, outcome, withdrawal_id, party_id)
        if isinstance(answer, Refused | Conflicted) and answer.trace.http_status in _ABOUT_STATE:
            return _held_against(await self.look(party_id, withdrawal_id), answer)
        return answer

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """`GET /account_groups/{id}/payments/cash_balances/{currency}` (CBREF).

        `available_for_withdrawal` is the ceiling of a withdrawal, and may be negative. How old it
        may be is not documented. None when it could not be read.
        """
        return _available(await self._balance(party_id, currency), currency)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the withdrawals of an account group over the days given (WREF), to end a doubt."""
        return await self._list(Operation.LIST, party_id, since, until)

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the same list, in the class of looks."""
        return await self._list(Operation.SURVEY, party_id, since, until)

    async def try_credentials(self) -> bool | None:
        """Read the withdrawals of nobody: 401 refuses, an answer in Upvest's words accepts.

        None when neither came: nobody answered, or somebody who is not Upvest. Tokens are asked for
        first: who is given none, for reading or for paying out, is refused as well.
        """
        if (admitted := await self._access.admitted()) is not True:
            return admitted
        outcome = await self._access.exchange(
            Operation.CREDENTIALS,
            "GET",
            _list_path(_NOBODY),
            scope=Scope.PAYMENTS_READ,
            query={"limit": "1"},
        )
        row = DIALECT.classified(
            Operation.CREDENTIALS, outcome, usable=page_of(outcome, _entry) is not None
        )
        return {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning)

    async def _read(self, withdrawal_id: str) -> Outcome:
        return await self._access.exchange(
            Operation.LOOK, "GET", _path(withdrawal_id), scope=Scope.PAYMENTS_READ
        )

    async def _balance(self, party_id: str, currency: str) -> Outcome:
        group = quote(party_id, safe="")
        return await self._access.exchange(
            "wallet",
            "GET",
            f"/account_groups/{group}/payments/cash_balances/{quote(currency, safe='')}",
            scope=Scope.POSITIONS_READ,
        )

    async def _explained(self, refused: Refused, permit: Permit) -> Refused | Throttled | None:
        """Say that funds are short, where the balance says so; ask later where it is not told.

        None where the balance suffices.
        """
        asked = json.loads(permit.body)
        outcome = await self._balance(permit.party_id, asked["currency"])
        if _is_passing(outcome):
            return Throttled(_UNEXPLAINED_FOR, refused.trace)
        available = _available(outcome, asked["currency"])
        if available is None:
            return refused
        if available >= Decimal(asked["amount"]):
            return None
        reason = Reason(ReasonCode.INSUFFICIENT_FUNDS, refused.reason.provider_code)
        return replace(refused, reason=reason)

    async def _list(
        self, operation: Operation, party_id: str, since: date, until: date
    ) -> ListAnswer:
        """`GET /account_groups/{id}/payments/withdrawals` (S26), newest first.

        It has no filter by time: it is read until entries are older than what was asked for, but
        only as long as it proves to be in the order that was asked for. Otherwise to its end.
        """
        earliest = datetime.combine(since, time(), UTC) - _SLACK
        entries = await read_list(
            self._access,
            operation,
            _list_path(party_id),
            scope=Scope.PAYMENTS_READ,
            query={"sort": "created_at", "order": "DESC"},
            read=_dated,
            identity=lambda dated: dated[1].reported.withdrawal_id,
            is_enough=lambda read: _is_older(read, earliest),
        )
        if not isinstance(entries, tuple):
            return entries
        return Listed(tuple(entry for _, entry in entries if _is_between(entry, since, until)))

    def _remittance(self, text: str | None, token: str) -> str | None:
        if not self._reference_in_remittance:
            return text
        # Square brackets are none of the documented characters.
        mark = f"({token.strip('[]')})"
        joined = f"{text} {mark}" if text else mark
        return joined if len(joined) <= REMITTANCE_LIMIT else text


def _held_against(seen: Answer, refusal: Refused | Conflicted) -> Answer:
    """Say what a refused cancellation comes to, by the look at the withdrawal after it."""
    if not isinstance(seen, Reported) or seen.status is None:
        return Unclear("state_unknown", trace=refusal.trace)
    if seen.status is Status.PENDING:
        return Unclear("still_new", trace=refusal.trace)
    # Whoever reads it next may read an older state.
    return seen if seen.status is Status.CANCELLED else refusal


_PATH: Final = "/payments/withdrawals"


def _path(withdrawal_id: str) -> str:
    return f"{_PATH}/{quote(withdrawal_id, safe='')}"


def _list_path(party_id: str) -> str:
    return f"/account_groups/{quote(party_id, safe='')}{_PATH}"


def _available(outcome: Outcome, currency: str) -> Decimal | None:
    """Read what may be withdrawn; None where that is not told."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    document = outcome.document or {}
    text = text_of(document.get("available_for_withdrawal"), _BALANCE)
    is_anothers = text_of(document.get("currency")) not in {None, currency}
    return None if text is None or is_anothers else Decimal(text)


def _is_passing(outcome: Outcome) -> bool:
    """Tell whether an answer that told no balance may be another in a moment."""
    if isinstance(outcome, Reply):
        return outcome.status in _PASSING or outcome.status >= _SERVER_ERRORS
    return not (isinstance(outcome, Silence) and outcome.why == NOT_GRANTED)


def _may_be_about_funds(answer: Answer) -> TypeGuard[Refused]:
    return (
        isinstance(answer, Refused)
        and answer.reason.code is ReasonCode.REFUSED
        and answer.trace.http_status in _PERHAPS_FUNDS
    )


def _is_between(entry: Entry, since: date, until: date) -> bool:
    # What shows no time cannot be left out.
    return entry.created_on is None or since <= entry.created_on <= until


def _is_older(read: Sequence[tuple[datetime | None, Entry]], earliest: datetime) -> bool:
    """Tell whether all that comes after what was read is older than a time.

    Only where what was read goes back in time from its first to its last entry.
    """
    times = [at for at, _ in read if at is not None]
    is_descending = all(newer >= older for newer, older in pairwise(times))
    is_proven = len(times) == len(read) and bool(times) and times[0] > times[-1]
    return is_descending and is_proven and times[-1] < earliest


def _answer(
    operation: Operation,
    outcome: Outcome,
    expected_id: str | None = None,
    party_id: str | None = None,
) -> Answer:
    """Turn an exchange about one withdrawal into an answer."""
    reported = _reported_by(operation, outcome, expected_id, party_id)
    strange = reported is not None and reported.status is None
    row = DIALECT.classified(operation, outcome, usable=reported is not None, strange=strange)
    if row.meaning is Meaning.REPORTED and reported is not None:
        return reported
    if row.meaning is Meaning.CONFLICTED:
        return Conflicted(DIALECT.trace_of(outcome))
    return DIALECT.no_success(row, outcome)


def _reported_by(
    operation: Operation, outcome: Outcome, expected_id: str | None, party_id: str | None
) -> Reported | None:
    """Read the withdrawal that a success is about; None unless it is the one that was asked for."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    if operation is Operation.CANCEL and outcome.status == _NO_CONTENT and expected_id is not None:
        # Accepted; of the state it says nothing.
        return Reported(expected_id, None, None, _trace(outcome))
    document = outcome.document or {}
    reported = _reported(document, _trace(outcome))
    is_another = reported is not None and expected_id not in {None, reported.withdrawal_id}
    group = _uuid(document.get("account_group_id"))
    is_anothers = None not in {party_id, group} and group != party_id
    return None if is_another or is_anothers else reported


_NO_CONTENT: Final = 204


def _trace(reply: Reply) -> Trace:
    return Trace(http_status=reply.status, request_id=reply.request_id)


def _reported(document: Mapping[str, Any], trace: Trace) -> Reported | None:
    """Read one withdrawal; None without a usable id, all that is certain to be there (WG)."""
    identity = text_of(document.get("id"), ID)
    if identity is None:
        return None
    word = text_of(document.get("status"), WORD)
    status = STATUSES.get(word or "")
    why = text_of(document.get("cancellation_reason"), WORD)
    is_cancelled = status is Status.CANCELLED
    if is_cancelled and why is not None and why not in REASONS:
        _log.warning("unknown cancellation reason", extra={"provider": "upvest", "word": why})
    return Reported(
        withdrawal_id=identity,
        status=status,
        provider_status=word,
        trace=replace(trace, provider_code=why) if is_cancelled else trace,
        reason=REASONS.get(why or "", ReasonCode.CANCELLED_AT_PROVIDER) if is_cancelled else None,
    )


def _dated(item: object) -> tuple[datetime | None, Entry] | None:
    entry = _entry(item)
    return None if entry is None or not isinstance(item, dict) else (_created_at(item), entry)


def _entry(item: object) -> Entry | None:
    """Read one entry of a list; None without a usable id or amount, by which it is recognised.

    Whatever else is not in a documented form counts as not shown: a strange word must not make
    one of ours look like another's.
    """
    if not isinstance(item, dict):
        return None
    reported = _reported(item, Trace())
    amount = text_of(item.get("amount"), DECIMAL)
    if reported is None or amount is None:
        return None
    created_at = _created_at(item)
    return Entry(
        reported=reported,
        amount=amount,
        currency=text_of(item.get("currency"), _CURRENCY),
        method=None,
        target_id=_uuid(item.get("reference_account_id")),
        text=text_of(item.get("remittance_information")),
        text_name="remittance_information",
        created_on=None if created_at is None else created_at.date(),
        party_id=_uuid(item.get("account_group_id")),
    )


def _uuid(value: object) -> str | None:
    """Read an id that is compared with one of a request, which is in small letters."""
    text = text_of(value, ID)
    return None if text is None else text.lower()


def _created_at(item: Mapping[str, Any]) -> datetime | None:
    return time_of(item.get("created_at"))
