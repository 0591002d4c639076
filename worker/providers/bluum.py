"""The Bluum API, investor-scoped generation (G3 of the reference): its words, turned into ours.

Source keys in capitals (WD, IDEM, …) name pages of Bluum's documentation, as in the project's
reference. Where pages contradict each other every documented variant is read. Which answer means
what stands in `bluum_answers`; nothing here decides what follows from one."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, assert_never, get_args
from urllib.parse import quote

from pydantic import Field

from worker.core.answers import (
    NO_TRACE,
    Answer,
    Conflicted,
    Denied,
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
from worker.core.requests import DESCRIPTION_LIMIT, Description, Identifier, Request
from worker.core.withdrawal import Reason, Status, reference_token
from worker.providers.answer_table import NO_STATUS, Acts, Body, Meaning, Operation, Row
from worker.providers.bluum_answers import ANSWERS
from worker.providers.http import Outcome, Postponed, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.decide import Permit
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

#: A page of a list; documented maxima are 100 (WDL) and 200 (HOW).
PAGE: Final = 100
PAGES_LIMIT: Final = 200

#: No investor has this id; asking for it reads nothing and still needs valid credentials.
_NOBODY: Final = "inv_credentials_check"

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_WORD = re.compile(r"[A-Za-z0-9 _.-]{1,64}")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SUCCESS_CLASS: Final = 2
_NO_DAY: Final = date(1970, 1, 1)
#: What is kept of a provider's own words.
TEXT_LIMIT: Final = 2000


class BluumRequest(Request):
    """The request body for `"provider": "bluum"` (contract section 2; fields as in WD)."""

    provider: Literal["bluum"]
    investor_id: Identifier
    method: Method
    funding_source_id: Identifier = Field(repr=False)
    description: Description = Field(default=None, repr=False)

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


class Bluum:
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
        self._line = line
        self._now = now
        self._tenure = tenure
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

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """`GET /investors/{id}/withdrawals` (WDL) over the days given, page by page.

        The sort order is not documented, so an entry may move while we read, and the one that is
        looked for may slip through between two pages. Hence each page begins with the last entry
        of the one before: where it does not, the list moved, and nothing is concluded from it. A
        page may be shorter than was asked for (WDL and HOW disagree about the longest).
        """
        entries: list[Entry] = []
        for _ in range(PAGES_LIMIT):
            query = {
                "date_from": since.isoformat(),
                "date_to": until.isoformat(),
                "limit": str(PAGE),
                "offset": str(max(0, len(entries) - 1)),
            }
            outcome = await self._line.exchange(Operation.LIST, "GET", _path(party_id), query=query)
            page = _page(outcome)
            row = _classified(Operation.LIST, outcome, usable=page is not None)
            if row.meaning is not Meaning.LISTED or page is None:
                return _no_success(row, outcome)
            found, more = page
            if entries and (not found or _id(found[0]) != _id(entries[-1])):
                return Unclear("list_moved")
            entries[-1:] = found
            if not more:
                return Listed(tuple({_id(entry): entry for entry in entries}.values()))
            if len(found) <= 1:
                # It promises more, and there is no way on.
                return Unclear("short_page")
        return Unclear("endless_list")

    async def try_credentials(self) -> bool | None:
        """Read the withdrawals of nobody: 401 refuses (AUTH), an answer in Bluum's words accepts.

        None when neither came: nobody answered, or somebody who is not Bluum.
        """
        outcome = await self._line.exchange(
            Operation.CREDENTIALS, "GET", _path(_NOBODY), query={"limit": "1"}
        )
        row = _classified(Operation.CREDENTIALS, outcome, usable=_page(outcome) is not None)
        return {Meaning.ACCEPTED: True, Meaning.DENIED: False}.get(row.meaning)

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
    row = _classified(operation, outcome, usable=reported is not None, strange=strange)
    if row.meaning is Meaning.REPORTED and reported is not None:
        return reported
    if row.meaning is Meaning.CONFLICTED:
        return Conflicted(_trace(outcome))
    return _no_success(row, outcome)


def _classified(
    operation: Operation, outcome: Outcome, *, usable: bool, strange: bool = False
) -> Row:
    """Find the row of the table that holds; `usable` tells whether a success's body is."""
    status, code = NO_STATUS, None
    match outcome:
        case Silence():
            body = Body.SILENCE
        case Postponed():
            body = Body.UNSENT
        case Reply(status=status) if _is_success(outcome):
            body = (Body.STRANGE if strange else Body.USABLE) if usable else Body.OTHER
        case Reply(status=status):
            body, code = _error_body(outcome), _trace(outcome).provider_code
        case _:  # pragma: no cover
            assert_never(outcome)
    row = ANSWERS.row(operation, status, body, code)
    # Of refused credentials who watches over them tells, once.
    if row.acts is Acts.OPERATOR and row.meaning is not Meaning.DENIED:
        _log.error(
            "operator needed",
            extra={"operation": operation.value, "http_status": status, "provider_code": code},
        )
    return row


def _no_success(row: Row, outcome: Outcome) -> Refused | Unclear | Throttled | Denied:
    """Put a row into words of ours; what is none of the clear ones is unclear."""
    trace = _trace(outcome)
    retry_after = outcome.retry_after if isinstance(outcome, Reply) else None
    match row.meaning:
        case Meaning.REFUSED if row.reason is not None:
            return Refused(Reason(row.reason, trace.provider_code), trace)
        case Meaning.THROTTLED:
            wait = outcome.wait if isinstance(outcome, Postponed) else retry_after
            return Throttled(wait, trace)
        case Meaning.DENIED:
            return Denied(trace)
        case _:
            heard = outcome.why if isinstance(outcome, Silence) else f"http_{trace.http_status}"
            return Unclear(row.why or heard, retry_after, trace)


def _is_success(reply: Reply) -> bool:
    return reply.status // 100 == _SUCCESS_CLASS


def _error_body(reply: Reply) -> Body:
    """Tell whether an error is in one of Bluum's documented envelopes (REF, ERR, ORD, NB)."""
    document = reply.document or {}
    if isinstance(document.get("error"), dict) or isinstance(document.get("code"), str):
        return Body.ENVELOPE
    return Body.TEXT if isinstance(document.get("error"), str) else Body.OTHER


def _trace(outcome: Outcome) -> Trace:
    if not isinstance(outcome, Reply):
        return NO_TRACE
    reply, document = outcome, outcome.document or {}
    error = document.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else document
    code = inner.get("code")
    text = error if isinstance(error, str) else inner.get("message")
    return Trace(
        http_status=reply.status,
        provider_code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        request_id=reply.request_id,
        text=_told(text),
    )


def _told(text: object) -> str | None:
    """Cut what a provider wrote to what every ledger can store: no NUL, no lone surrogate."""
    if not isinstance(text, str):
        return None
    return text[:TEXT_LIMIT].replace("\x00", "").encode(errors="replace").decode()


def _reported_by(outcome: Outcome, expected_id: str | None) -> Reported | None:
    """Read the withdrawal that a success is about; None unless it is the one that was asked for."""
    if not isinstance(outcome, Reply) or not _is_success(outcome):
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
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        return None
    word = _text(document.get("status"), _WORD)
    return Reported(
        withdrawal_id=identity,
        status=STATUSES.get(word or ""),
        provider_status=word,
        trace=Trace(
            http_status=status,
            request_id=request_id,
            text=_told(document.get("failure_reason")),
        ),
    )


def _page(outcome: Outcome) -> tuple[list[Entry], bool] | None:
    """Read one page of a list, with whether more follows; None when it cannot be read whole."""
    if not isinstance(outcome, Reply) or not _is_success(outcome):
        return None
    document = outcome.document or {}
    data, more = document.get("data"), document.get("has_more")
    if not isinstance(data, list) or not isinstance(more, bool):
        return None
    entries = [_entry(item) for item in data]
    read = [entry for entry in entries if entry is not None]
    # An entry that cannot be read might be the very one that is looked for.
    return (read, more) if len(read) == len(entries) else None


def _entry(item: object) -> Entry | None:
    """Read one entry of a list; None without a usable id or amount, by which it is recognised.

    Whatever else is not in a documented form counts as not shown: a strange word must not make
    one of ours look like another's.
    """
    if not isinstance(item, dict):
        return None
    reported = _reported(item, request_id=None, status=None)
    amount = _text(item.get("amount"), _AMOUNT)
    if reported is None or amount is None:
        return None
    method = item.get("method")
    return Entry(
        reported=reported,
        amount=amount,
        currency=_text(item.get("currency"), _CURRENCY),
        method=method if isinstance(method, str) and method in METHODS else None,
        target_id=_text(item.get("funding_source_id"), _ID),
        text=_text(item.get("description")),
        created_on=_created_on(item),
        party_id=_text(item.get("investor_id"), _ID),
    )


def _id(entry: Entry) -> str:
    return entry.reported.withdrawal_id


def _text(value: object, form: re.Pattern[str] | None = None) -> str | None:
    """Return a text that is in its documented form, else None."""
    if not isinstance(value, str) or (form is not None and not form.fullmatch(value)):
        return None
    return value


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
