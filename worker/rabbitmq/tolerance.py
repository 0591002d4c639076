"""Reading what the AMQP library cannot: one undecodable message must not close the connection.

AMQP's short strings and timestamps are bytes that anybody may fill with anything. pamqp decodes
them strictly and deep inside the connection's reader: a message id that is not UTF-8 raises there,
the connection dies, the broker delivers the message again, and so on for ever, with every other
message behind it. So the decoding is made tolerant at its two narrowest places, before the first
connection: a content header that cannot be read becomes properties that say just that and keep the
original bytes, and a routing key that is not UTF-8 is read with its odd bytes escaped.

Checked against pamqp 4.0.1; the tests send such messages through a real broker."""

from __future__ import annotations

from typing import Final

from pamqp import decode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

#: The header that carries the original bytes of properties which could not be read.
UNREADABLE: Final = "x-original-properties"

_strict_short_str = decode.short_str
_strict_unmarshal = ContentHeader.unmarshal
#: Class, weight and body size: what comes before the properties in a content header.
_FIXED_PART: Final = 12


def install() -> None:
    """Make the decoding tolerant; doing so again changes nothing."""
    decode.METHODS["shortstr"] = _short_str
    ContentHeader.unmarshal = _unmarshal  # type: ignore[method-assign, assignment]


def _unmarshal(header: ContentHeader, data: bytes) -> None:
    decode.METHODS["shortstr"] = _strict_short_str
    try:
        _strict_unmarshal(header, data)
    except Exception:  # noqa: BLE001
        # Whatever the library could not read. Class, weight and size stand: they came first.
        header.properties = Basic.Properties(headers={UNREADABLE: bytearray(data[_FIXED_PART:])})
    finally:
        decode.METHODS["shortstr"] = _short_str


def _short_str(value: bytes) -> tuple[int, str]:
    try:
        return _strict_short_str(value)
    except UnicodeDecodeError:
        length = value[0]
        return length + 1, value[1 : length + 1].decode("utf-8", errors="backslashreplace")
