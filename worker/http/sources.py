"""Who sent a request: the caller's own address, or what our proxies say of it.

Whom to believe is decided elsewhere, and nothing a stranger wrote is taken for what a proxy did."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address

#: An IPv4 address with a port, and an IPv6 address in brackets, with one or without: some proxies
#: write these.
_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


def source_of(
    peer: str | None, forwarded_for: str, *, proxies: int
) -> IPv4Address | IPv6Address | None:
    """Return who sent a request that came through so many proxies of ours; None if nobody says.

    Each proxy adds the address it heard from to the right of `forwarded_for`, which is the value of
    X-Forwarded-For; so what stands further left than there are proxies may be anybody's invention.
    Without proxies it is the `peer` of the connection.
    """
    if not proxies:
        return _address(peer or "")
    told = forwarded_for.split(",")
    return _address(told[-proxies]) if len(told) >= proxies else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 in this form.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
