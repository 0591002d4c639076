"""Whom a provider tells by webhook: what is wanted of its calls, and how their answers read.

For people at a terminal; nothing here takes a delivery, and no company is known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, assert_never

from worker.providers.http import Outcome, Postponed, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

#: How a subscription came to be as it was wanted.
How = Literal["created", "changed", "unchanged"]

#: What follows from a status, where a provider has no other word for it.
WHY: Final[Mapping[int, str]] = {
    400: "it did not understand the call",
    401: "it refused the credentials",
    429: "there were too many calls, try again later",
}
_SUCCESS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Whom a provider tells of what. `is_active` false: it is kept, and nobody is told."""

    id: str
    url: str
    events: tuple[str, ...]
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A subscription that is as it was wanted, and what it took.

    `secret` is what deliveries are signed with, None where the provider showed none. `twins` are
    the ids of others with the same address, which are told everything as well.
    """

    subscription: Subscription
    how: How
    secret: str | None = field(default=None, repr=False)
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """It was not done, or nobody knows whether it was; `why` is a sentence for people."""

    why: str


class Subscriptions(Protocol):
    """The subscriptions at one provider. No call raises."""

    #: What hastens something of ours.
    events: tuple[str, ...]

    def unfit(self, url: str, name: str) -> str | None:
        """Return why it does not take this address or this name; None when it may."""
        ...

    async def unknown(self, events: Collection[str]) -> Trouble | None:
        """Tell of those events that the provider does not have; None when it has them all."""
        ...

    async def listed(self) -> tuple[Subscription, ...] | Trouble:
        """Return all subscriptions."""
        ...

    async def register(
        self, url: str, events: Collection[str], *, name: str, renew: bool = False
    ) -> Registered | Trouble:
        """Have `url` told of `events`: make a subscription, change the one it has, or leave it.

        With `renew` one that is as wanted is written again.
        """
        ...

    async def remove(self, identity: str) -> bool | Trouble:
        """Remove one; False when there was none any more."""
        ...

    async def test(self, identity: str) -> Trouble | None:
        """Have one tested: the provider delivers something to its address."""
        ...


def trouble_of(
    outcome: Outcome, company: str, *, why: Mapping[int, str], word: Callable[[Reply], str | None]
) -> Trouble | None:
    """Return what is wrong with an answer; None when it is a success.

    `why` says what follows from a status. `word` reads the provider's own word for the error, where
    it can be shown.
    """
    match outcome:
        case Silence(why=silence):
            return Trouble(f"{company} did not answer ({silence}); it is safe to try again")
        case Postponed():
            return Trouble(
                f"{company} was not asked: it wants a pause, or the ledger with the request budget"
                " is away; try again later"
            )
        case Reply(status=status) if status // 100 == _SUCCESS:
            return None
        case Reply(status=status):
            told = " ".join(filter(None, (str(status), word(outcome))))
            reason = why.get(status, "it is safe to try again")
            return Trouble(f"{company} answered {told}: {reason}")
        case _:  # pragma: no cover
            assert_never(outcome)


def of_address(
    listed: Collection[Subscription], url: str
) -> tuple[Subscription | None, tuple[str, ...]]:
    """Return the subscription of an address, an active one first, and the ids of its twins."""
    mine = sorted((one for one in listed if one.url == url), key=lambda one: not one.is_active)
    return (mine[0] if mine else None), tuple(one.id for one in mine[1:])
