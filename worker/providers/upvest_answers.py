"""Every answer that Upvest may give to a call about withdrawals and orders, and what it means.

`ANSWERS` is what the adapter classifies by; `python -m worker.providers.upvest_answers` prints it
for operators (docs/answers-upvest.md). Source keys in capitals name pages of Upvest's
documentation, as in the project's reference. What follows from a meaning is decided in
`worker.core.decide`, and for orders in `worker.core.selling`.

Two rules fill the places where Upvest's pages say nothing. What is not clearly a refusal in
Upvest's own words (a problem document with `type` and the status that it came with) is unclear,
since a guess could end or repeat a payout. And the status is believed before the `type`, which is
a URL on some pages and a bare word on others; except where the `type` of a refusal names another
status: then nothing is final.

Which code says that the funds do not suffice is not documented. A refusal whose `type` says so in
so many words is taken at its word: it is a refusal either way, and all that depends on it is
whether the request may wait. For the others the adapter reads the balance."""

from __future__ import annotations

import sys
from typing import Final

from worker.core.withdrawal import ReasonCode
from worker.providers.answer_senses import (
    AS_ASKED,
    CONFLICTED,
    DENIED,
    REPORTED,
    THROTTLED,
    refusal,
    rows,
    said,
    unclear,
)
from worker.providers.answer_table import NO_STATUS, STATUSES, Acts, AnswerTable, Body

_SUCCESS: Final = range(200, 300)
#: The statuses in which Upvest refuses (ERR): the only ones that can end a withdrawal.
_REFUSALS: Final = {400, 403, 404, 422}
#: Of 4xx, those that have rows of their own.
_TOLD_4XX: Final = _REFUSALS | {401, 406, 408, 409, 425, 429}
_OTHER_4XX: Final = set(range(400, 500)) - _TOLD_4XX
_RETRIED_5XX: Final = {500, 502, 503, 504}

_NO: Final = refusal(ReasonCode.REFUSED)
_SILENT: Final = unclear()
_TO_THE_OPERATOR: Final = unclear(acts=Acts.OPERATOR)
_OUR_FAULT: Final = unclear("our_request", Acts.OPERATOR)

_PROBLEM: Final = {Body.ENVELOPE}
_FOREIGN: Final = {Body.TEXT, Body.OTHER}
_NOWHERE: Final = "not documented"

_TABLE: Final = (
    # Success. Only a body that can be used counts as one.
    said(
        _SUCCESS,
        AS_ASKED,
        "WREF, S26",
        "documented are 200 for create, 202 for an order and its cancellation, 204 without a body "
        "for a withdrawal's cancellation, and 200 for the rest; any 2xx is read alike",
        bodies={Body.USABLE},
    ),
    said(
        _SUCCESS,
        REPORTED,
        "WREF, WG",
        "it exists; a state that is not shown, or not documented, is looked at again, and not "
        "guessed at",
        bodies={Body.STRANGE},
    ),
    said(
        _SUCCESS,
        unclear("unusable_body"),
        _NOWHERE,
        "empty, not JSON, cut off, a problem document, without a usable id, of another withdrawal",
        bodies={Body.OTHER},
    ),
    # 400
    said({400}, _NO, "ERR", "malformed", bodies=_PROBLEM),
    said(
        {400},
        _OUR_FAULT,
        "ERR",
        "a header of ours is missing, which no customer caused",
        codes={"missing_client_id", "missing_idempotency_key"},
        bodies=_PROBLEM,
    ),
    # 401: whatever came with it
    said({401}, DENIED, "ERR, AUB", "never the message's fault; the token was renewed once"),
    # 403
    said(
        {403},
        refusal(ReasonCode.NOT_PERMITTED, Acts.OPERATOR),
        "ERR",
        "scope or permission: which of both is not told, so an operator should look",
        bodies=_PROBLEM,
    ),
    # 404
    said(
        {404},
        refusal(ReasonCode.NOT_FOUND),
        "ERR; SIM",
        "no such resource, or not yet: right after a create call a look may hear it",
        bodies=_PROBLEM,
    ),
    # 406: whatever came with it
    said(
        {406}, _OUR_FAULT, "ERR", "our `accept` header; changed on the way, or not liked any more"
    ),
    # 409: whatever came with it
    said(
        {409},
        CONFLICTED,
        "ERR",
        "the state forbids it; for a create call not listed, so it is looked up",
    ),
    # 422
    said(
        {422},
        _NO,
        "ERR, S26",
        "a semantic error; to a cancellation: it is not NEW any more",
        bodies=_PROBLEM,
    ),
    # Refusals whose type says more than the status, or something else.
    said(
        _REFUSALS,
        refusal(ReasonCode.INSUFFICIENT_FUNDS),
        _NOWHERE,
        "no page names such a type; should there be one, it means what it says",
        codes={"insufficient_funds", "insufficient_balance", "insufficient_cash_balance"},
        bodies=_PROBLEM,
    ),
    said(
        _REFUSALS,
        CONFLICTED,
        _NOWHERE,
        "status and type disagree: it is looked up",
        codes={"conflict"},
        bodies=_PROBLEM,
    ),
    said(
        _REFUSALS,
        unclear("contradiction", Acts.OPERATOR),
        _NOWHERE,
        "status and type disagree: nothing is final",
        codes={"unauthorised", "not_acceptable"},
        bodies=_PROBLEM,
    ),
    said(
        _REFUSALS,
        unclear("contradiction"),
        _NOWHERE,
        "status and type disagree: nothing is final",
        codes={"too_many_requests", "internal", "bad_gateway", "unavailable", "gateway_timeout"},
        bodies=_PROBLEM,
    ),
    said(
        _REFUSALS,
        _TO_THE_OPERATOR,
        _NOWHERE,
        "somebody else's page: Upvest has said nothing",
        bodies=_FOREIGN,
    ),
    # 429: whatever came with it
    said({429}, THROTTLED, "ERR, THR", "turned away unexecuted; all calls wait"),
    # Other 4xx
    said({408}, _SILENT, _NOWHERE, "the call may have been carried out"),
    said({425}, _SILENT, _NOWHERE, "too early (RFC 8470)"),
    said(
        _OTHER_4XX,
        _TO_THE_OPERATOR,
        _NOWHERE,
        "a no that nobody documented, or somebody else's page",
    ),
    # 5xx
    said(_RETRIED_5XX, _SILENT, "ERR", "the call may have been carried out"),
    said(
        set(range(500, 600)) - _RETRIED_5XX,
        _SILENT,
        _NOWHERE,
        "501, 505 and the like: as the documented ones",
    ),
    # No answer to the call at all
    said(range(100, 200), _SILENT, _NOWHERE, "an interim answer that stayed the only one"),
    said(
        range(300, 400), _TO_THE_OPERATOR, _NOWHERE, "the base URL moved; no redirect is followed"
    ),
    said(set(STATUSES) - set(range(100, 600)), _TO_THE_OPERATOR, _NOWHERE, "no status of HTTP"),
    said(
        {NO_STATUS},
        _SILENT,
        "ours",
        "timeout, broken or refused connection, what is not HTTP, a body without end, no token",
        bodies={Body.SILENCE},
    ),
    said(
        {NO_STATUS},
        THROTTLED,
        "ours",
        "a pause that the provider asked for is not over, the permit ran out, or there was no "
        "token to send it with",
        bodies={Body.UNSENT},
    ),
)

#: What `worker.providers.upvest` classifies by.
ANSWERS: Final = AnswerTable("upvest", rows(_TABLE))


def answers_page() -> str:
    """Write docs/answers-upvest.md."""
    return _HEAD + ANSWERS.markdown() + "\n"


_HEAD: Final = """\
# What Upvest answers, and who acts next

Written by `python -m worker.providers.upvest_answers > docs/answers-upvest.md` from the table that
the worker classifies by. Sources are pages of Upvest's documentation, by the keys of the project's
reference.

A create call that is refused under 400 or 422 without a word about funds is followed by one look at
the balance: where less is available than was asked for, it counts as `insufficient_funds`. A
cancellation that is refused under 409 or 422 is followed by a look at the withdrawal: while that
still says `NEW`, or cannot be read, the refusal is no last word, and it is asked for again; where
it says `CANCELLED`, the cancellation was done before.
"""


if __name__ == "__main__":
    sys.stdout.write(answers_page())
