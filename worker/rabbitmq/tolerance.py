"""Reading what the AMQP library cannot: one undecodable message must not close the connection.

AMQP's short strings and timestamps are bytes that anybody may fill with anything. pamqp decodes
them strictly and deep inside the connection's reader: a message id that is not UTF-8 raises there,
the connection dies, the broker delivers the message again, and so on for ever, with every other
message behind it. So the decoding is made tolerant at its two narrowest places, before the first
connection: a content header keeps its properties' bytes beside what could be decoded of them, and
of a short string that is not UTF-8 the odd bytes are escaped.

Checked against pamqp 4.0.1; `install` refuses a pamqp in which these places have moved."""

from __future__ import annotations

from typing import Final

from pamqp import decode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from worker.rabbitmq.properties import NotProperties, take_apart

_strict_short_str = decode.short_str
_strict_unmarshal = ContentHeader.unmarshal
#: Class, weight and body size: what comes before the properties in a content header.
_FIXED_PART: Final = 12
#: Where a content header keeps its properties' bytes.
_ORIGINAL: Final = "original_properties"


class LibraryMoved(ImportError):  # noqa: N818
    """pamqp is not built any more as this module expects."""


def install() -> None:
    """Make the decoding tolerant; doing so again changes nothing."""
    if decode.METHODS.get("shortstr") not in {_strict_short_str, _short_str}:
        raise LibraryMoved("pamqp.decode.METHODS no longer decodes short strings by short_str")
    decode.METHODS["shortstr"] = _short_str
    ContentHeader.unmarshal = _unmarshal  # type: ignore[method-assign, assignment]


def original_properties(header: ContentHeader) -> bytes:
    """Return the properties of a content header as they came."""
    original: bytes = getattr(header, _ORIGINAL)
    return original


def _unmarshal(header: ContentHeader, data: bytes) -> None:
    setattr(header, _ORIGINAL, bytes(data[_FIXED_PART:]))
    try:
        _strict_unmarshal(header, data)
    except Exception:  # noqa: BLE001
        # Whatever the library could not read. Class, weight and size stand: they came first.
        header.properties = _readable(data[_FIXED_PART:])


def _readable(original: bytes) -> Basic.Properties:
    """Return of properties what matters to somebody who looks at a dead letter."""
    try:
        properties = take_apart(original)
    except NotProperties:
        return Basic.Properties()
    return Basic.Properties(
        message_id=_escaped(properties.fields.get("message_id")),
        content_type=_escaped(properties.fields.get("content_type")),
        correlation_id=_escaped(properties.fields.get("correlation_id")),
        headers=dict(properties.header_texts()),
    )


def _short_str(value: bytes) -> tuple[int, str]:
    try:
        return _strict_short_str(value)
    except UnicodeDecodeError:
        length = value[0]
        return length + 1, value[1 : length + 1].decode("utf-8", errors="backslashreplace")


def _escaped(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", errors="backslashreplace")
