"""What the post needs of a company's webhooks: deliveries that are due, and letters ready to send.

Values and an interface; whom to tell of what, how it is signed and what an answer means for the
next attempt is each company's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

#: Characters of a URL; undocumented, but everything has a limit.
URL_MAX: Final = 2000
_SUCCESS_CLASS: Final = 2


class Outcome(StrEnum):
    """What became of an attempt, or of a delivery before its first one."""

    DELIVERED = "delivered"
    #: Answered with another status than one of success.
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    #: The fault: it was never sent.
    LOST = "lost"

    @classmethod
    def of(cls, status: int | None) -> Outcome:
        """Return the outcome of an answer where every 2xx is a success; None is no answer."""
        if status is None:
            return cls.UNANSWERED
        return cls.DELIVERED if status // 100 == _SUCCESS_CLASS else cls.REFUSED


@dataclass(frozen=True, slots=True)
class Letter:
    """One delivery as it goes out: a POST to `url`."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Bound(Protocol):
    """A delivery on its way. Those of one `lane` are sent one after the other."""

    @property
    def lane(self) -> str:
        """What keeps its order."""
        ...


Parcel = TypeVar("Parcel", bound=Bound)


class Mail(Protocol[Parcel]):
    """A company's webhooks, as far as the post is concerned."""

    #: What is to be sent now; the post takes it from the left.
    due: deque[Parcel]
    #: Called when something becomes due.
    on_due: Callable[[], None] | None

    @property
    def timeout(self) -> timedelta:
        """Return the time in which a delivery has to be answered."""
        ...

    def letter(self, delivery: Parcel, *, at: int) -> Letter | None:
        """Return a delivery as it is sent `at` (unix seconds); None when nobody is there."""
        ...

    def note(self, delivery: Parcel, status: int | None, *, now: datetime) -> None:
        """Hear how an attempt was answered; None: it was not."""
        ...


def is_url(text: object) -> bool:
    """Tell whether a delivery could be sent there: HTTP or HTTPS and a host."""
    if not isinstance(text, str) or len(text) > URL_MAX:
        return False
    scheme, _, rest = text.partition("://")
    is_printable = text.isascii() and text.isprintable() and " " not in text
    return scheme in {"http", "https"} and bool(rest.strip("/")) and is_printable
