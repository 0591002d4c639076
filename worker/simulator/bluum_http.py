"""What is Bluum's own at the door of its simulated API: credentials, envelopes and words.

HTTP and no effect: the stations of a call stand in `door`, what it means in `bluum_api`."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import TYPE_CHECKING, Final

from aiohttp import web

from worker.simulator.bluum_api import answer, routes_of
from worker.simulator.bluum_documents import Document, older_error
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_route import Answer, Call, Operation, Route, refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.simulator.bluum_house import House
    from worker.simulator.bluum_options import BluumOptions
    from worker.simulator.simulation import Simulation


class BluumHttp:
    """Bluum at the door of one simulation; see `door.Company`."""

    reads_of_one: Final[frozenset[str]] = frozenset({Operation.GET_WITHDRAWAL, Operation.GET_ORDER})
    undocumented_status: Final = "in_review"
    key_header: Final = "Idempotency-Key"
    limit_headers: Final[Mapping[str, str]] = {"Retry-After": "1"}

    def __init__(self, simulation: Simulation[House], options: BluumOptions) -> None:
        self._simulation = simulation
        self._generation = options.terms.generation
        self.routes: Final[Sequence[Route]] = routes_of(self._generation)
        self._credentials = f"{options.api_key}:{options.api_secret}".encode()

    def refusal(
        self, _route: Route, request: web.Request, _body: bytes, *, now: datetime
    ) -> Answer | None:
        """Check HTTP Basic authentication, key as user and secret as password (AUTH)."""
        del now
        refusal = self._refusal_of_credentials(request.headers.get("Authorization"))
        return None if refusal is None else refused(refusal)

    def answer(self, route: Route, call: Call) -> Answer:
        """Let a call take effect."""
        return answer(route, self._simulation.house, call)

    def limited(self) -> Answer:
        """Return 429-001."""
        return refused(Refusal(Code.RATE_LIMITED, "Too many requests."))

    def too_large(self, most: int) -> Answer:
        """Return 400-008 (CODES names no number)."""
        return refused(Refusal(Code.BODY_TOO_LARGE, f"The body is larger than {most} bytes."))

    def broken(self) -> Answer:
        """Return 500-001 (CODES)."""
        return refused(Refusal(Code.INTERNAL, "Internal error."))

    def written(self, answer: Answer, *, headers: Mapping[str, str] | None = None) -> web.Response:
        """Write an answer as JSON."""
        return web.Response(
            status=answer.status,
            body=json.dumps(self._in_its_words(answer), separators=(",", ":")).encode(),
            content_type="application/json",
            headers=headers,
        )

    def _in_its_words(self, answer: Answer) -> Document | None:
        """Return the document of an answer; the older generation writes errors in other ways."""
        document = answer.document
        if document is None or not self._generation.is_older or "error" not in document:
            return document
        return older_error(document, self._simulation.house.ground.terms.answer_shape)

    def _refusal_of_credentials(self, header: str | None) -> Refusal | None:
        if header is None:
            return Refusal(Code.AUTH_MISSING, "The Authorization header is missing.")
        scheme, _, encoded = header.partition(" ")
        try:
            credentials = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            credentials = b""
        if scheme.lower() != "basic" or b":" not in credentials:
            return Refusal(Code.AUTH_MALFORMED, "The Authorization header is not HTTP Basic.")
        known = hmac.compare_digest(credentials, self._credentials)
        if not known or self._simulation.revoked:
            return Refusal(Code.AUTH_WRONG, "The key or secret is wrong or revoked.")
        return None
