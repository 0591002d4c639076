"""Who sent a request, seen through so many proxies."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from worker.http.sources import source_of


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("2001:db8::1", "", 0, "2001:db8::1"),
        (None, "", 0, None),
        ("10.0.0.1", "203.0.113.9, 192.0.2.1", 1, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9,192.0.2.1 ,10.0.0.2", 2, "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1:50123", 1, "192.0.2.1"),
        ("10.0.0.1", "[2001:db8::1]:443", 1, "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", 1, "2001:db8::1"),
        ("10.0.0.1", "192.0.2.1", 2, None),
        ("10.0.0.1", "", 1, None),
        ("10.0.0.1", "192.0.2.1, unknown", 1, None),
        ("10.0.0.1", "192.0.2.1, ", 1, None),
        ("10.0.0.1", "999.0.2.1:80", 1, None),
    ],
)
def test_the_source_is_what_the_last_trusted_proxy_heard(
    peer: str | None, forwarded: str, proxies: int, expected: str | None
) -> None:
    """
    Counted from the right; what is not told is not known.
    """
    address = ip_address(expected) if expected else None

    assert address == source_of(peer, forwarded, proxies=proxies)
