"""What an address must look like before anybody connects to it, and a header before it is read.

The messages never hold the address: there may be a password in it."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

# Enough of an entry to recognise it by.
_SHOWN_MAX = 60
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def check_amqp(url: SecretStr) -> SecretStr:
    """The URL of a broker, unchanged."""
    parts = _split(url.get_secret_value())
    if parts.scheme not in {"amqp", "amqps"}:
        raise ValueError("the scheme is neither amqp nor amqps")
    _require_host(parts)
    _require_encoded(parts)
    return url


def check_ledger(url: SecretStr) -> SecretStr:
    """The URL of a database that can be a ledger, unchanged."""
    text = url.get_secret_value()
    parts = _split(text)
    if parts.scheme == "postgresql":
        if not text.startswith("postgresql://") or parts.path in {"", "/"}:
            raise ValueError("no database is named")
        _require_encoded(parts)
        return url
    if parts.scheme != "sqlite":
        raise ValueError("the scheme is neither sqlite nor postgresql")
    # A ledger in memory would forget what was paid, and pay it again.
    if not text.startswith("sqlite:///") or parts.path in {"/", "/:memory:"}:
        raise ValueError("no file is named")
    if parts.query:
        raise ValueError("there is more than a path")
    return url


def check_https(url: str) -> str:
    """The base URL of an API without trailing slash; unencrypted only inside this host."""
    parts = _split(url)
    _require_host(parts)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts)):
        raise ValueError("the scheme is not https")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("there is more in it than scheme, host, port and path")
    return url.rstrip("/")


def check_header(name: str | None) -> str | None:
    """The name of an HTTP header (RFC 9110, section 5.1), unchanged; or None."""
    if name is not None and not _TOKEN.fullmatch(name):
        raise ValueError("no header has such a name")
    return name


def check_path(path: str) -> str:
    """The path of an address, unchanged: as it stands in a request, without its query."""
    if not _PATH.fullmatch(path):
        raise ValueError("no request has such a path")
    return path


def networks(texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of a list with commas; an address is one of its own. Raises ValueError."""
    return tuple(ip_network(text) for text in _entries(texts))


def unfit_networks(texts: str) -> Iterator[str]:
    """Every entry of such a list that is neither an address nor a network, as it stands there."""
    for text in _entries(texts):
        try:
            ip_network(text)
        except ValueError:
            yield text[:_SHOWN_MAX]


def _entries(texts: str) -> Iterator[str]:
    return (text for each in texts.split(",") if (text := each.strip()))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # The library's own words quote the part it stumbled over: a piece of a password perhaps.
        raise ValueError("host or port cannot be read") from None
    return parts


def _require_host(parts: SplitResult) -> None:
    if not parts.hostname:
        raise ValueError("no host is named")


def _require_encoded(parts: SplitResult) -> None:
    # What was to be the password would be read as a port, and its end be shown as a path.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("there is an @ behind the host: a / ? or # in the password, not encoded")


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
