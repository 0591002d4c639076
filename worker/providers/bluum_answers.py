"""Every answer that Bluum may give to a call about withdrawals and orders, and what it means to us.

`ANSWERS` is what the adapter classifies by; `python -m worker.providers.bluum_answers` prints it
for operators (docs/answers.md). Source keys in capitals name pages of Bluum's documentation, as in
the project's reference. What follows from a meaning is decided in `worker.core.decide`, and for
orders in `worker.core.selling`.

Two rules fill the places where Bluum's pages say nothing. What is not clearly a refusal in Bluum's
own words is unclear, since a guess could end or repeat a payout. And the status is believed before
the code, except where a refusal's code contradicts it: then nothing is final."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import ReasonCode
from worker.providers.answer_senses import (
    AS_ASKED,
    CONFLICTED,
    DENIED,
    REPORTED,
    SELL,
    THROTTLED,
    Sense,
    refusal,
    rows,
    said,
    unclear,
)
from worker.providers.answer_table import (
    ERRORS,
    NO_STATUS,
    STATUSES,
    Acts,
    AnswerTable,
    Body,
    Meaning,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from worker.providers.answer_senses import Said, Senses


def _code(code: str, senses: Senses, note: str, source: str = "CODES") -> Said:
    """Bluum's code, in the envelope and under the status that the code names."""
    return _answer({int(code[:3])}, senses, source, note, codes={code}, bodies={Body.ENVELOPE})


def _answer(
    statuses: AbstractSet[int] | range,
    senses: Senses,
    source: str,
    note: str = "",
    *,
    codes: AbstractSet[str] = frozenset(),
    bodies: AbstractSet[Body] = ERRORS,
) -> Said:
    full = {code if code.isupper() else f"BLUM-{code}" for code in codes}
    return said(statuses, senses, source, note, codes=full, bodies=bodies)


_SUCCESS: Final = range(200, 300)
#: The statuses in which Bluum refuses (ERR, CODES): the only ones that can end a withdrawal.
_REFUSALS: Final = {400, 403, 404, 422}
#: Of 4xx, those that have rows of their own.
_TOLD_4XX: Final = _REFUSALS | {401, 408, 409, 425, 429}
_OTHER_4XX: Final = set(range(400, 500)) - _TOLD_4XX
_RETRIED_5XX: Final = {500, 502, 503, 504}

_FUNDS: Final = {"422-001", "422-005"}
_KEYS: Final = {f"401-00{number}" for number in range(1, 6)}
_CONFLICTS: Final = {f"409-00{number}" for number in range(1, 4)}

_NO: Final = refusal(ReasonCode.REFUSED)
_NO_FUNDS: Final = refusal(ReasonCode.INSUFFICIENT_FUNDS)
_NOT_ALLOWED: Final = refusal(ReasonCode.NOT_PERMITTED)
_OUR_KEY: Final = refusal(ReasonCode.NOT_PERMITTED, Acts.OPERATOR)
_NOT_FOUND: Final = refusal(ReasonCode.NOT_FOUND)
#: An order that comes at the wrong hour is no wrong order.
_CLOSED: Final[Senses] = {**_NO, SELL: Sense(Meaning.NOT_NOW, Acts.US)}
_SILENT: Final = unclear()
_TO_THE_OPERATOR: Final = unclear(acts=Acts.OPERATOR)

_ENVELOPE: Final = {Body.ENVELOPE}
_FOREIGN: Final = {Body.TEXT, Body.OTHER}
_NOWHERE: Final = "not documented"

_TABLE: Final = (
    # Success. Only a body that can be used counts as one.
    _answer(
        _SUCCESS,
        AS_ASKED,
        "WD, PF, WDL; 201: NB, ERR",
        "documented are 201 for create and 200 for the rest; any 2xx is read alike",
        bodies={Body.USABLE},
    ),
    _answer(
        _SUCCESS,
        REPORTED,
        "CF, WD",
        "the withdrawal exists; its state is counted, looked at again, and not guessed at",
        bodies={Body.STRANGE},
    ),
    _answer(
        _SUCCESS,
        unclear("unusable_body"),
        _NOWHERE,
        "empty, not JSON, cut off, an error's envelope, without a usable id, of another withdrawal",
        bodies={Body.OTHER},
    ),
    # 400
    _code("400-001", _NO, "generic validation"),
    _code("400-002", _NO, "missing field"),
    _code("400-003", _NO, "bad format"),
    _code("400-004", _NO, "bad value of an enumeration"),
    _code("400-005", _NO, "the amount is not a positive decimal string"),
    _code("400-006", _NO, "bad quantity"),
    _code("400-007", _NO, "bad range of dates"),
    _code("400-008", _NO, "body too large"),
    _answer({400}, _NO, "ERR", "by its status", bodies=_ENVELOPE),
    _answer({400}, _NO, "NB", "missing ACH relationship", bodies={Body.TEXT}),
    # 401: whatever came with it
    _code("401-001", DENIED, "header missing"),
    _code("401-002", DENIED, "header malformed"),
    _code("401-003", DENIED, "key or secret wrong, or revoked"),
    _code("401-004", DENIED, "key inactive"),
    _code("401-005", DENIED, "key expired"),
    _answer({401}, DENIED, "ERR", "never the message's fault"),
    # 403
    _code("403-001", _OUR_KEY, "the key lacks permission"),
    _code("403-002", _NOT_ALLOWED, "the account is not approved (KYC)"),
    _code("403-003", _OUR_KEY, "production access is needed"),
    _code("403-004", _NOT_ALLOWED, "the account's state forbids it"),
    _answer(
        {403},
        _OUR_KEY,
        "ORD, NB",
        "an add-on that is not enabled; withdrawals are core, so it is not to be expected",
        codes={"PRODUCT_NOT_ENABLED"},
        bodies=_ENVELOPE,
    ),
    _answer({403}, _NOT_ALLOWED, "ERR", "by its status", bodies=_ENVELOPE),
    # 404
    _code("404-001", _NOT_FOUND, "missing, or another tenant's"),
    _answer(
        _REFUSALS,
        unclear("unknown_path", Acts.OPERATOR),
        "CODES",
        "unknown path: the base URL is wrong, which no customer caused",
        codes={"404-002"},
        bodies=_ENVELOPE,
    ),
    _code("404-003", _NOT_FOUND, "unknown asset (orders)"),
    _answer({404}, _NOT_FOUND, "ERR", "by its status", bodies=_ENVELOPE),
    # 409: whatever came with it
    _code("409-001", CONFLICTED, "duplicate resource; NB: the key was already processed"),
    _code("409-002", CONFLICTED, "the key was used with another body: a bug of ours"),
    _code("409-003", CONFLICTED, "the resource's state forbids it; probably a late cancellation"),
    _answer({409}, CONFLICTED, "ERR", "to be resolved, never retried"),
    # 422
    _answer(
        _REFUSALS,
        _NO_FUNDS,
        "CODES, DW, TST; under 400: NB",
        "insufficient funds, or more than can be withdrawn: the code counts, not the status",
        codes=_FUNDS,
        bodies=_ENVELOPE,
    ),
    _code("422-002", _CLOSED, "market closed (orders)"),
    _code("422-003", _NO, "asset not tradable (orders)"),
    _code("422-004", _NO, "too few shares (orders)"),
    _answer({422}, _NO, "ERR", "by its status", bodies=_ENVELOPE),
    # A refusal's status whose code says otherwise, and a refusal that is not in Bluum's words.
    _answer(
        _REFUSALS,
        CONFLICTED,
        _NOWHERE,
        "status and code disagree: a known key is looked up, whatever the status",
        codes=_CONFLICTS,
        bodies=_ENVELOPE,
    ),
    _answer(
        _REFUSALS,
        unclear("contradiction", Acts.OPERATOR),
        _NOWHERE,
        "status and code disagree: nothing is final",
        codes=_KEYS,
        bodies=_ENVELOPE,
    ),
    _answer(
        _REFUSALS,
        unclear("contradiction"),
        _NOWHERE,
        "status and code disagree: nothing is final",
        codes={"429-001", "500-001", "500-017"},
        bodies=_ENVELOPE,
    ),
    _answer({400}, _TO_THE_OPERATOR, _NOWHERE, "somebody else's page", bodies={Body.OTHER}),
    _answer(
        {403, 404, 422},
        _TO_THE_OPERATOR,
        _NOWHERE,
        "somebody else's page: Bluum has said nothing",
        bodies=_FOREIGN,
    ),
    # 429: whatever came with it
    _code("429-001", THROTTLED, "rate limited", "ERR, CODES"),
    _answer({429}, THROTTLED, "ERR", "turned away unexecuted; all calls wait"),
    # Other 4xx
    _answer({408}, _SILENT, _NOWHERE, "the call may have been carried out"),
    _answer({425}, _SILENT, _NOWHERE, "too early (RFC 8470)"),
    _answer(
        _OTHER_4XX,
        _TO_THE_OPERATOR,
        _NOWHERE,
        "a no of Bluum's that nobody documented",
        bodies=_ENVELOPE,
    ),
    _answer(_OTHER_4XX, _TO_THE_OPERATOR, _NOWHERE, "somebody else's page", bodies=_FOREIGN),
    # 5xx
    _code("500-001", _SILENT, "internal error"),
    _code("500-017", _SILENT, "an upstream service failed"),
    _answer(_RETRIED_5XX, _SILENT, "ERR", "the call may have been carried out"),
    _answer(
        set(range(500, 600)) - _RETRIED_5XX,
        _SILENT,
        _NOWHERE,
        "501, 505 and the like: as the documented ones",
    ),
    # No answer to the call at all
    _answer(range(100, 200), _SILENT, _NOWHERE, "an interim answer that stayed the only one"),
    _answer(
        range(300, 400), _TO_THE_OPERATOR, _NOWHERE, "the base URL moved; no redirect is followed"
    ),
    _answer(
        set(STATUSES) - set(range(100, 600)),
        _TO_THE_OPERATOR,
        _NOWHERE,
        "no status of HTTP",
    ),
    _answer(
        {NO_STATUS},
        _SILENT,
        "JG, GL",
        "timeout, broken or refused connection, what is not HTTP, a body without end",
        bodies={Body.SILENCE},
    ),
    _answer(
        {NO_STATUS},
        THROTTLED,
        "ours",
        "a pause that the provider asked for is not over, or the permit ran out",
        bodies={Body.UNSENT},
    ),
)


#: What `worker.providers.bluum` classifies by.
ANSWERS: Final = AnswerTable("bluum", rows(_TABLE))


def answers_page() -> str:
    """Write docs/answers.md."""
    return _HEAD + ANSWERS.markdown() + "\n"


_HEAD: Final = """\
# What Bluum answers, and who acts next

Written by `python -m worker.providers.bluum_answers > docs/answers.md` from the table that the
worker classifies by. Sources are pages of Bluum's documentation, by the keys of the project's
reference.

It holds for both generations of the API, the providers `bluum` and `bluum_accounts`: pages mix
their codes and envelopes, so each is read in every form that either shows. In the older one
(`bluum_accounts`) errors are mostly flat, a success may stand in `data`, and a repeated key may be
answered by 409 (`BLUM-409-001`) instead of the original. Orders are in the newer one alone.
"""


if __name__ == "__main__":
    sys.stdout.write(answers_page())
