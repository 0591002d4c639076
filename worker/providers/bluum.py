"""The Bluum API, investor-scoped generation (G3 of the reference): its words, turned into ours.

Source keys in capitals (WD, IDEM, …) name pages of Bluum's documentation, as in the project's
reference. Where pages contradict each other every documented variant is read. Nothing here decides
what follows from an answer."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import httpx

from worker.core.answers import (
    Answer,
    Conflicted,
    Denied,
    Entry,
    ListAnswer,
    Listed,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.requests import DESCRIPTION_LIMIT, Description, Identifier, Request
from worker.core.withdrawal import Reason, ReasonCode, Status, reference_token
from worker.providers.http import Outcome, Postponed, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.decide import Permit
    from worker.providers.http import Line

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

#: What a refusal means, by Bluum's code (CODES). Other codes are classified by HTTP status.
REFUSALS: Final[Mapping[str, ReasonCode]] = {
    "BLUM-422-001": ReasonCode.INSUFFICIENT_FUNDS,
    "BLUM-422-005": ReasonCode.INSUFFICIENT_FUNDS,
}
_REFUSED_BY_STATUS: Final[Mapping[int, ReasonCode]] = {
    400: ReasonCode.REFUSED,
    403: ReasonCode.NOT_PERMITTED,
    404: ReasonCode.NOT_FOUND,
    422: ReasonCode.REFUSED,
}
#: "Unknown path" (CODES): our base URL is wrong, which is nothing a customer could have caused.
_UNKNOWN_PATH: Final = "BLUM-404-002"

#: A page of a list; documented maxima are 100 (WDL) and 200 (HOW).
PAGE: Final = 100
PAGES_LIMIT: Final = 200

#: No investor has this id; asking for it reads nothing and still needs valid credentials.
_NOBODY: Final = "inv_credentials_check"

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_WORD = re.compile(r"[A-Za-z0-9 _.-]{1,64}")


class BluumRequest(Request):
    """The request body for `"provider": "bluum"` (contract section 2; fields as in WD)."""

    provider: Literal["bluum"]
    investor_id: Identifier
    method: Literal["ach", "wire", "international_wire", "manual_bank_transfer"]
    funding_source_id: Identifier
    description: Description = None

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
    """The provider `bluum`, over one `Line`."""

    name = "bluum"
    shape: type[Request] = BluumRequest

    def __init__(
        self, line: Line, *, reference_in_description: bool, now: Callable[[], datetime]
    ) -> None:
        self._line = line
        self._now = now
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
        reply = await self._line.exchange(
            "create",
            "POST",
            _path(permit.party_id),
            body=permit.body,
            headers={
                "Idempotency-Key": permit.idempotency_key,
                "Content-Type": "application/json",
            },
            may_leave=lambda: self._now() < permit.valid_until,
        )
        return _answer(reply, expected_id=None)

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """`GET /investors/{id}/withdrawals/{id}` (PF)."""
        reply = await self._line.exchange("look", "GET", _path(party_id, withdrawal_id))
        return _answer(reply, expected_id=withdrawal_id)

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """`POST /investors/{id}/withdrawals/{id}/cancel`, no body (PF, JW)."""
        reply = await self._line.exchange(
            "cancel", "POST", f"{_path(party_id, withdrawal_id)}/cancel"
        )
        return _answer(reply, expected_id=withdrawal_id)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """`GET /investors/{id}/withdrawals` (WDL) over the days given, page by page.

        The sort order is not documented, so an entry may move from page to page while we read:
        an answer counts only when no page came out short of what `has_more` promised.
        """
        entries: dict[str, Entry] = {}
        for page in range(PAGES_LIMIT):
            reply = await self._line.exchange(
                "list",
                "GET",
                _path(party_id),
                query={
                    "date_from": since.isoformat(),
                    "date_to": until.isoformat(),
                    "limit": str(PAGE),
                    "offset": str(page * PAGE),
                },
            )
            read = _page(reply)
            if not isinstance(read, tuple):
                return read
            found, more = read
            entries |= {entry.reported.withdrawal_id: entry for entry in found}
            if not more:
                return Listed(tuple(entries.values()))
            if not found:
                return Unclear("short_page")
        return Unclear("endless_list")

    async def try_credentials(self) -> bool:
        """Read the withdrawals of nobody: 401 says no, any other answer or none does not (AUTH)."""
        reply = await self._line.exchange(
            "credentials", "GET", _path(_NOBODY), query={"limit": "1"}
        )
        return not (isinstance(reply, Reply) and reply.status == httpx.codes.UNAUTHORIZED)

    def _description(self, text: str | None, token: str) -> str | None:
        if not self._reference_in_description:
            return text
        joined = f"{text} {token}" if text else token
        return joined if len(joined) <= DESCRIPTION_LIMIT else text


def _path(party_id: str, withdrawal_id: str | None = None) -> str:
    path = f"/investors/{quote(party_id, safe='')}/withdrawals"
    return path if withdrawal_id is None else f"{path}/{quote(withdrawal_id, safe='')}"


def _answer(reply: Outcome, *, expected_id: str | None) -> Answer:
    """Turn an exchange about one withdrawal into an answer: a total map of what may come."""
    refusal = _not_reported(reply)
    if refusal is not None:
        return refusal
    if not isinstance(reply, Reply):  # pragma: no cover - `_not_reported` answers for silence
        return Unclear("silence")
    reported = _reported(reply.document or {}, request_id=reply.request_id, status=reply.status)
    if reported is None or expected_id not in {None, reported.withdrawal_id}:
        return Unclear("unusable_body", trace=_trace(reply))
    return reported


def _not_reported(
    reply: Outcome,
) -> Refused | Conflicted | Unclear | Throttled | Denied | None:
    """Return the answer that is not a report, or None for a 2xx whose body is to be read."""
    if isinstance(reply, Silence):
        return Unclear(reply.why)
    if isinstance(reply, Postponed):
        return Throttled(reply.wait)
    trace = _trace(reply)
    match reply.status:
        case status if httpx.codes.is_success(status):
            return None
        case httpx.codes.UNAUTHORIZED:
            return Denied(trace)
        case httpx.codes.CONFLICT:
            return Conflicted(trace)
        case httpx.codes.TOO_MANY_REQUESTS:
            return Throttled(reply.retry_after, trace)
        case status if status in _REFUSED_BY_STATUS and _is_bluums(reply):
            if trace.provider_code == _UNKNOWN_PATH:
                return Unclear("unknown_path", reply.retry_after, trace)
            code = REFUSALS.get(trace.provider_code or "", _REFUSED_BY_STATUS[status])
            return Refused(Reason(code, trace.provider_code), trace)
        case status:
            # 408, 5xx, redirects, and refusals that are not in Bluum's words (a proxy's page).
            return Unclear(f"http_{status}", reply.retry_after, trace)


def _is_bluums(reply: Reply) -> bool:
    """Tell whether a refusal is in one of Bluum's documented envelopes (REF, ERR, ORD, NB)."""
    document = reply.document or {}
    return isinstance(document.get("error"), dict | str) or isinstance(document.get("code"), str)


def _trace(reply: Reply) -> Trace:
    document = reply.document or {}
    error = document.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else document
    code = inner.get("code")
    text = error if isinstance(error, str) else inner.get("message")
    return Trace(
        http_status=reply.status,
        provider_code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        request_id=reply.request_id,
        text=text[:2000].replace("\x00", "") if isinstance(text, str) else None,
    )


def _reported(
    document: Mapping[str, Any], *, request_id: str | None, status: int | None
) -> Reported | None:
    """Read one withdrawal; None without a usable id. `wd_` and `wdr_` ids are opaque (HOW)."""
    identity = document.get("id", document.get("withdrawal_id"))
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        return None
    word = document.get("status")
    known = isinstance(word, str) and _WORD.fullmatch(word)
    reason = document.get("failure_reason")
    return Reported(
        withdrawal_id=identity,
        status=STATUSES.get(word) if known and isinstance(word, str) else None,
        provider_status=word if known and isinstance(word, str) else None,
        trace=Trace(
            http_status=status,
            request_id=request_id,
            text=reason[:2000].replace("\x00", "") if isinstance(reason, str) else None,
        ),
    )


def _page(
    reply: Outcome,
) -> tuple[list[Entry], bool] | Refused | Unclear | Throttled | Denied:
    refusal = _not_reported(reply)
    if isinstance(refusal, Conflicted):
        return Unclear("http_409", trace=refusal.trace)
    if refusal is not None:
        return refusal
    document = (reply.document if isinstance(reply, Reply) else None) or {}
    data, more = document.get("data"), document.get("has_more")
    if not isinstance(data, list) or not isinstance(more, bool):
        return Unclear("unusable_body")
    entries = [_entry(item) for item in data]
    read = [entry for entry in entries if entry is not None]
    # An entry that cannot be read might be the very one that is looked for.
    return (read, more) if len(read) == len(entries) else Unclear("unusable_body")


def _entry(item: object) -> Entry | None:
    if not isinstance(item, dict):
        return None
    reported = _reported(item, request_id=None, status=None)
    if reported is None:
        return None
    return Entry(
        reported=reported,
        amount=_text(item.get("amount")),
        currency=_text(item.get("currency")),
        method=_text(item.get("method")),
        target_id=_text(item.get("funding_source_id")),
        text=_text(item.get("description")),
        created_on=_created_on(item),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _created_on(item: Mapping[str, Any]) -> date | None:
    """Read the day of creation: `created` in unix seconds (WD) or `created_at` as ISO (JW)."""
    created = item.get("created")
    try:
        if isinstance(created, int | float) and not isinstance(created, bool):
            return datetime.fromtimestamp(created, UTC).date()
        text = item.get("created_at") or item.get("initiated_at")
        return datetime.fromisoformat(text).date() if isinstance(text, str) else None
    except (ValueError, OverflowError, OSError):
        return None
