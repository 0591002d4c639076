"""The route of Upvest's API that gives out access tokens (source TOK): from a call to its answer.

Pure. That the call was signed has been checked before; it is made without a token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from worker.simulator.faults import CallKind
from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_reading import invalid
from worker.simulator.upvest_route import OK, Answer, Call, Operation, UpvestRoute, refused

if TYPE_CHECKING:
    from worker.simulator.upvest_house import House

_FIELDS: Final = ("client_id", "client_secret", "grant_type", "scope")
#: Characters of a secret and of the scopes (TOK).
_LENGTH_MAX: Final = 1000
_GRANT: Final = "client_credentials"


def _issue(house: House, call: Call) -> Answer:
    form = _read(call.body)
    if isinstance(form, Problem):
        return refused(form)
    client = house.client
    is_known = (
        hmac.compare_digest(form["client_secret"].encode(), client.secret.encode())
        and form["client_id"].lower() == client.id
    )
    if not is_known:
        return refused(Problem(Kind.UNAUTHORISED, "The client id or secret is wrong."))
    wanted = form["scope"].split()
    granted = [scope for scope in client.scopes if scope in wanted]
    if len(granted) < len(set(wanted)):
        return refused(Problem(Kind.INVALID_SCOPE, "A scope is unknown or not granted.", "scope"))
    token = house.tokens.issue(granted, now=call.now)
    document = {
        "access_token": token.text,
        "expires_in": int(house.tokens.lifetime.total_seconds()),
        "token_type": "bearer",
        "scope": " ".join(granted),
    }
    return Answer(OK, document)


def _read(body: bytes) -> dict[str, str] | Problem:
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        return invalid("The body is not a form.")
    form = dict(pairs)
    if len(form) < len(pairs) or sorted(form) != sorted(_FIELDS):
        return invalid("The form has " + ", ".join(_FIELDS) + ", each once.")
    for name, value in form.items():
        if not 0 < len(value) <= _LENGTH_MAX:
            return invalid(f"{name} must have 1 to {_LENGTH_MAX} characters.", name)
    if form["grant_type"] != _GRANT:
        return invalid(f"grant_type must be {_GRANT}.", "grant_type")
    return form


TOKEN_ROUTE: Final = UpvestRoute(
    method="POST",
    path="/auth/token",
    operation=Operation.TOKEN,
    kind=CallKind.OTHER,
    respond=_issue,
    is_token=True,
)
