"""Access tokens of the simulated Upvest (source TOK): given out, good for a while, revoked.

Pure: the time is an argument. A token tells nothing to who holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.simulator.chance import token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from worker.simulator.upvest_route import Scope


@dataclass(frozen=True, slots=True)
class Token:
    """What was given out: the text, what it is good for, and until when."""

    text: str = field(repr=False)
    scopes: frozenset[Scope]
    expires_at: datetime


class Tokens:
    """The tokens of one client. `lifetime` is told as `expires_in`."""

    def __init__(self, *, lifetime: timedelta, seed: str) -> None:
        self.lifetime = lifetime
        self.issued = 0
        self._seed = seed
        self._known: dict[str, Token] = {}

    def issue(self, scopes: Iterable[Scope], *, now: datetime) -> Token:
        """Give out another token; those that have expired are forgotten."""
        self._known = {t.text: t for t in self._known.values() if now < t.expires_at}
        self.issued += 1
        text = "simulated_" + token(self._seed, "token", str(self.issued))
        made = Token(text, frozenset(scopes), now + self.lifetime)
        self._known[text] = made
        return made

    def find(self, text: str, *, now: datetime) -> Token | None:
        """Return a token; None when it is unknown, revoked or expired."""
        found = self._known.get(text)
        return found if found is not None and now < found.expires_at else None

    def revoke(self) -> int:
        """Make every token useless; return how many there were."""
        count = len(self._known)
        self._known.clear()
        return count
