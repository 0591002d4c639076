"""Chance that repeats itself: numbers and identifiers derived from a seed and names.

No generator and no state: what is derived does not depend on what was asked before, so a run with
many calls at once can be repeated."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

_DIGEST_BYTES: Final = 12
#: A float holds 53 bits exactly; more would round up to 1.0 now and then.
_FRACTION_BITS: Final = 53
_FRACTIONS: Final = 1 << _FRACTION_BITS


def fraction(seed: str, *names: str | bytes) -> float:
    """Return the number from [0, 1) that belongs to `seed` and `names`."""
    drawn = int.from_bytes(_digest(seed, names)) >> (_DIGEST_BYTES * 8 - _FRACTION_BITS)
    return drawn / _FRACTIONS


def token(seed: str, *names: str | bytes) -> str:
    """Return the 24 hexadecimal digits that belong to `seed` and `names`."""
    return _digest(seed, names).hex()


def uuid(seed: str, *names: str | bytes) -> str:
    """Return the UUID (version 4 by its form) that belongs to `seed` and `names`."""
    return str(UUID(bytes=blake2b(_digest(seed, names), digest_size=16).digest(), version=4))


def _digest(seed: str, names: tuple[str | bytes, ...]) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for name in (seed, *names):
        part = name.encode() if isinstance(name, str) else name
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return digest.digest()
