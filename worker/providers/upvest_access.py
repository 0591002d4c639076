"""Access to Upvest: every call carries a token of its scope, which is got and renewed here.

Source keys in capitals (TOK, AUB, …) name pages of Upvest's documentation, as in the project's
reference. Nothing of any call's meaning is known here, and no token is ever shown."""

from __future__ import annotations

import asyncio
import logging
import re
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import httpx

from worker.providers.http import Outcome, Postponed, Reply, Silence
from worker.providers.replies import is_success

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.providers.http import Line

_log = logging.getLogger(__name__)


class Scope(StrEnum):
    """What a call needs to be allowed (S19, S26). Each has a token of its own.

    So read and write are apart, as Upvest asks for (TOK), and a client that was not granted orders,
    say, still pays out.
    """

    PAYMENTS_READ = "payments:read"
    PAYMENTS_ADMIN = "payments:admin"
    POSITIONS_READ = "positions:read"
    ORDERS_READ = "orders:read"
    ORDERS_ADMIN = "orders:admin"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_ADMIN = "webhooks:admin"

    @property
    def changes(self) -> bool:
        """Whether calls under it change anything."""
        return self.endswith(":admin")


#: Without these nothing can be paid out: where one is refused, the credentials are.
ESSENTIAL: Final = (Scope.PAYMENTS_READ, Scope.PAYMENTS_ADMIN)

#: A token is renewed when so much of its life is over, while it is still used; and not used any
#: more a little before its end, since a call takes time on its way.
_RENEWED_AFTER: Final = 0.75
_USED_FOR: Final = 0.9
_RESERVE_MAX: Final = timedelta(seconds=10)
#: The longest life that was ever documented (S19), and one for tokens that tell none.
_LIFE_MAX: Final = timedelta(days=1)
_LIFE_UNTOLD: Final = timedelta(minutes=1)
#: After a call for a token that failed, and after one that was refused, none is made for so long.
_PAUSE: Final = timedelta(seconds=2)
_PAUSE_REFUSED: Final = timedelta(seconds=5)
#: A token whose life ends while its call waits for its turn is replaced so often.
_ROUNDS: Final = 3
#: `Date` is in whole seconds, and an answer takes a moment.
_CLOCK_TOLERANCE: Final = timedelta(seconds=5)

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_WORD: Final = re.compile(r"[a-z0-9_-]{1,64}", re.IGNORECASE)
_UNAUTHORISED: Final = httpx.codes.UNAUTHORIZED.value
_FORBIDDEN: Final = httpx.codes.FORBIDDEN.value
#: Refusals with one of these count in words that are OAuth2's or Upvest's alone: a proxy has them
#: too. A 401 counts whatever came with it.
_REFUSALS: Final = frozenset({400, _UNAUTHORISED, _FORBIDDEN})
#: OAuth2's word (RFC 6749, section 5.2), and ours for a token that is not for what was asked for.
_SCOPE_MISSING: Final = "scope_missing"
#: The kind of silence where this client is never given a token for what was asked for.
NOT_GRANTED: Final = "not_granted"
_NOT_GRANTED: Final = frozenset({"invalid_scope", _SCOPE_MISSING})


@dataclass(frozen=True, slots=True)
class _Token:
    """A token, and its times by our clock."""

    text: str = field(repr=False)
    renew_at: datetime
    useless_at: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    """No token could be had: what whoever wanted one hears, and until when none is asked for."""

    heard: Outcome
    since: datetime
    until: datetime


class UpvestAccess:
    """All calls to Upvest, over one `Line` whose `auth` is an `UpvestSignature`.

    `now` tells the time of this machine, as it does to the signature. Use it as an asynchronous
    context: it opens and closes the line.
    """

    def __init__(
        self,
        line: Line,
        *,
        client_id: str,
        client_secret: str,
        now: Callable[[], datetime],
    ) -> None:
        self._line = line
        self._client_id = client_id
        self._client_secret = client_secret
        self._now = now
        self._tokens: dict[Scope, _Token] = {}
        self._failures: dict[Scope, _Failure] = {}
        self._renewals: dict[Scope, asyncio.Task[_Token | _Failure]] = {}

    async def __aenter__(self) -> Self:
        """Open the line."""
        await self._line.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the line; what still waits for a token hears silence then."""
        await self._line.__aexit__()
        await asyncio.gather(*self._renewals.values())

    async def exchange(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        scope: Scope,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        may_leave: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """Send one request with a token of `scope`. Never raises, but for cancellation.

        Where no token can be had, nothing was sent: that is `Postponed` under a scope that changes
        something, so that nobody takes it for perhaps executed; under a reading scope it is the
        `Silence` of the call for the token, so that an outage is heard of. Refused credentials are
        a `Reply` of status 401 with a problem document, whichever of the two calls they were
        refused at. A 401 to the request itself has the token renewed, and the request signed and
        sent once more (AUB): it was not executed. `may_leave` is asked before each.
        """
        is_repeat = False
        for _ in range(_ROUNDS):
            token = await self._token(scope)
            if isinstance(token, _Failure):
                return self._unsent(scope, token)
            turn = _Turn(token, may_leave, self._now)
            outcome = await self._line.exchange(
                operation,
                method,
                path,
                query=query,
                body=body,
                headers={**(headers or {}), "Authorization": f"Bearer {token.text}"},
                may_leave=turn.has_come,
            )
            if turn.came_late:
                continue
            if is_repeat or not _is_denied(outcome):
                self._compare_clocks(outcome)
                return outcome
            self._drop(scope, token)
            is_repeat = True
        return Postponed(_PAUSE)

    async def admitted(self) -> bool | None:
        """Tell whether we are given tokens for payments: None when that was not answered."""
        failures = [
            token.heard
            for scope in ESSENTIAL
            if isinstance(token := await self._token(scope), _Failure)
        ]
        if any(_is_denied(heard) for heard in failures):
            return False
        return None if failures else True

    async def _token(self, scope: Scope) -> _Token | _Failure:
        """Return a token that can be used, renewed in the background where that is due."""
        now = self._now()
        token, failure = self._tokens.get(scope), self._failures.get(scope)
        # A clock that was set back does not prolong a pause.
        pauses = failure is not None and failure.since <= now < failure.until
        if token is not None and now < token.useless_at:
            if now >= token.renew_at and not pauses:
                self._renew(scope)
            return token
        if failure is not None and pauses:
            return failure
        self._renew(scope)
        # Shielded: one that gives up waiting does not end what the others wait for.
        return await asyncio.shield(self._renewals[scope])

    def _renew(self, scope: Scope) -> None:
        """Begin the call for a token, unless one is under way: it is for all who wait."""
        if scope not in self._renewals:
            # Not in the context of whoever lacked it first: it is for all.
            renewal = asyncio.create_task(self._renewed(scope), context=Context())
            self._renewals[scope] = renewal
            renewal.add_done_callback(lambda _: self._renewals.pop(scope))

    async def _renewed(self, scope: Scope) -> _Token | _Failure:
        """`POST /auth/token` (TOK), and keep what it gives."""
        asked_at = self._now()
        form = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "grant_type": "client_credentials",
            "scope": scope.value,
        }
        outcome = await self._line.exchange(
            "token",
            "POST",
            "/auth/token",
            body=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        token = _token_of(outcome, scope, asked_at)
        if token is None:
            failure = self._failed(outcome, scope)
            self._failures[scope] = failure
            return failure
        self._tokens[scope] = token
        return token

    def _failed(self, outcome: Outcome, scope: Scope) -> _Failure:
        """Put a call for a token that gave none into words for those who wait for it."""
        now = self._now()
        if isinstance(outcome, Postponed):
            return _Failure(outcome, now, now)
        if isinstance(outcome, Silence):
            return _Failure(outcome, now, now + _PAUSE)
        word = _refusal(outcome, scope)
        _log.log(
            logging.WARNING if word is None else logging.ERROR,
            "no token",
            extra={
                "provider": "upvest",
                "scope": scope.value,
                "http_status": outcome.status,
                "provider_code": word,
                "request_id": outcome.request_id,
            },
        )
        # 403 is Upvest's own word for a scope that is missing (ERR).
        is_ungranted = word in _NOT_GRANTED or outcome.status == _FORBIDDEN
        if word is None or (is_ungranted and scope not in ESSENTIAL):
            wait = max(outcome.retry_after or _PAUSE, _PAUSE)
            why = "no_token" if word is None else NOT_GRANTED
            return _Failure(Silence(why), now, now + wait)
        self._compare_clocks(outcome)
        denied = Reply(
            status=_UNAUTHORISED,
            document={"type": word, "status": _UNAUTHORISED, "title": "no token"},
            request_id=outcome.request_id,
            retry_after=outcome.retry_after,
            answered_at=outcome.answered_at,
        )
        return _Failure(denied, now, now + _PAUSE_REFUSED)

    def _unsent(self, scope: Scope, failure: _Failure) -> Outcome:
        if isinstance(failure.heard, Silence) and scope.changes:
            return Postponed(max(failure.until - self._now(), _PAUSE))
        return failure.heard

    def _drop(self, scope: Scope, token: _Token) -> None:
        """Use a token no more that was refused, unless it was replaced meanwhile."""
        if self._tokens.get(scope) is token:
            del self._tokens[scope]

    def _compare_clocks(self, outcome: Outcome) -> None:
        """Say by how much our clock is wrong, where that may be why we were refused."""
        if not isinstance(outcome, Reply) or not _is_denied(outcome) or not outcome.answered_at:
            return
        behind = outcome.answered_at - self._now()
        if abs(behind) > _CLOCK_TOLERANCE:
            _log.error(
                "clock differs from the provider's",
                extra={"provider": "upvest", "seconds_behind": round(behind.total_seconds())},
            )


class _Turn:
    """Asks at the last moment whether a call may leave, and whether its token still holds."""

    def __init__(
        self, token: _Token, may_leave: Callable[[], bool], now: Callable[[], datetime]
    ) -> None:
        self._token = token
        self._may_leave = may_leave
        self._now = now
        self.came_late = False

    def has_come(self) -> bool:
        """Tell whether it may leave, now."""
        self.came_late = self._now() >= self._token.useless_at
        return not self.came_late and self._may_leave()


def _is_denied(outcome: Outcome) -> bool:
    return isinstance(outcome, Reply) and outcome.status == _UNAUTHORISED


def _token_of(outcome: Outcome, scope: Scope, asked_at: datetime) -> _Token | None:
    """Read the answer to a call for a token (TOK; RFC 6749, section 5.1); None without one."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    document = outcome.document or {}
    text = document.get("access_token")
    kind = document.get("token_type", "bearer")
    life = _life(document.get("expires_in"))
    if not isinstance(text, str) or not _TOKEN.fullmatch(text) or life <= timedelta(0):
        return None
    if not isinstance(kind, str) or kind.lower() != "bearer" or _lacks(document, scope):
        return None
    reserve = min(_RESERVE_MAX, life * (1 - _USED_FOR))
    return _Token(text, asked_at + life * _RENEWED_AFTER, asked_at + life - reserve)


def _life(expires_in: object) -> timedelta:
    """Read `expires_in`: seconds, at most a day. Where it is no number, the token is used shortly.

    Zero, and not an error, when the token is over by its own words.
    """
    if isinstance(expires_in, str) and _SECONDS.fullmatch(expires_in):
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return _LIFE_UNTOLD
    if isinstance(expires_in, float) and not isfinite(expires_in):
        return _LIFE_UNTOLD
    return timedelta(seconds=max(0, min(expires_in, _LIFE_MAX.total_seconds())))


def _lacks(document: Mapping[str, Any], scope: Scope) -> bool:
    """Tell whether the token is said to be for something else than what was asked for."""
    granted = document.get("scope")
    return isinstance(granted, str) and scope.value not in granted.split()


def _refusal(reply: Reply, scope: Scope) -> str | None:
    """Return the word by which a token was refused; None when it was not refused for certain.

    Upvest's own errors have a `type`, a URL or a bare word (ERR); those of OAuth2 an `error`.
    """
    document = reply.document or {}
    if is_success(reply):
        return _SCOPE_MISSING if _lacks(document, scope) else None
    said = document.get("error", document.get("type"))
    word = said.rstrip("/").rpartition("/")[2] if isinstance(said, str) else ""
    if reply.status in _REFUSALS and _WORD.fullmatch(word):
        return word
    return "unauthorised" if reply.status == _UNAUTHORISED else None
