"""AMQP's message properties written by hand, byte by byte, also such as no library would write.

Independent of the code it tests."""

from __future__ import annotations

import struct
from typing import Final

_BITS: Final = {
    "content_type": 15,
    "content_encoding": 14,
    "headers": 13,
    "delivery_mode": 12,
    "priority": 11,
    "correlation_id": 10,
    "reply_to": 9,
    "expiration": 8,
    "message_id": 7,
    "timestamp": 6,
    "type": 5,
    "user_id": 4,
    "app_id": 3,
    "cluster_id": 2,
}


def properties(**fields: bytes) -> bytes:
    """Write properties; each field is given encoded."""
    flags = sum(1 << _BITS[name] for name in fields)
    return struct.pack(">H", flags) + b"".join(fields[name] for name in _BITS if name in fields)


def short(content: bytes) -> bytes:
    """Write a short string."""
    return bytes([len(content)]) + content


def long(content: bytes) -> bytes:
    """Write a long string, or anything else that begins with four bytes of length."""
    return struct.pack(">I", len(content)) + content


def table(**entries: bytes) -> bytes:
    """Write a table; each value is given encoded, its type first."""
    return pairs(*((name.encode(), value) for name, value in entries.items()))


def pairs(*entries: tuple[bytes, bytes]) -> bytes:
    """Write a table whose keys may be any bytes."""
    return long(b"".join(short(name) + value for name, value in entries))


def text(content: bytes) -> bytes:
    """Write a header's value that is a long string."""
    return b"S" + long(content)


def moment(seconds: int) -> bytes:
    """Write a timestamp, also one that no calendar knows."""
    return struct.pack(">Q", seconds)


def headers_of(encoded: bytes) -> dict[str, str]:
    """Return the headers that are long strings, of properties whose only table is the headers."""
    flags = int.from_bytes(encoded[:2])
    at = 2
    for name in ("content_type", "content_encoding"):
        if flags >> _BITS[name] & 1:
            at += 1 + encoded[at]
    if not flags >> _BITS["headers"] & 1:
        return {}
    end = at + 4 + int.from_bytes(encoded[at : at + 4])
    at += 4
    found = {}
    while at < end:
        key, at = encoded[at + 1 : at + 1 + encoded[at]], at + 1 + encoded[at]
        kind, at = encoded[at : at + 1], at + 1
        if kind in {b"S", b"x", b"A", b"F"}:
            length = int.from_bytes(encoded[at : at + 4])
            value, at = encoded[at + 4 : at + 4 + length], at + 4 + length
            if kind == b"S":
                found[key.decode(errors="replace")] = value.decode(errors="replace")
        else:
            at += {b"V": 0, b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"D": 5}.get(
                kind, 4 if kind in {b"I", b"i", b"f"} else 8
            )
    return found


def publication(channel: int, exchange: bytes, key: bytes, encoded: bytes, body: bytes) -> bytes:
    """Write the frames that publish a message; its routing key may be any bytes."""
    method = struct.pack(">HHH", 60, 40, 0) + short(exchange) + short(key) + b"\0"
    header = struct.pack(">HHQ", 60, 0, len(body)) + encoded
    return b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, payload in ((1, method), (2, header), (3, body))
    )
