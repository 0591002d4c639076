"""Who calls the simulated Upvest: one client, as it was registered. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.simulator.upvest_reading import is_uuid
from worker.simulator.upvest_route import Scope

if TYPE_CHECKING:
    from worker.simulator.upvest_client_keys import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client's id and secret, what it is granted, and the key with which it signs."""

    id: str
    secret: str = field(repr=False)
    key_id: str
    key: PublicKey = field(repr=False)
    scopes: tuple[Scope, ...] = tuple(Scope)

    def __post_init__(self) -> None:
        """Refuse a client that cannot be."""
        if not is_uuid(self.id) or self.id != self.id.lower():
            raise ValueError("client_id: a UUID in lower case")
        if not self.secret or not self.key_id or '"' in self.key_id:
            raise ValueError("client_secret, key_id: not empty, and no quote in the key id")
