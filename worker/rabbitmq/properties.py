"""AMQP's message properties as bytes: taken apart, changed in one place, put together again.

A dead letter keeps its properties as they came, byte for byte, whatever they hold; a library that
decodes and encodes them changes some and cannot read others. So nothing is decoded here, except a
text for which somebody asks. Pure: no library, no broker."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Every property with the bit that flags it, in the order of the wire.
_FLAGS: Final = {
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
#: Properties of a fixed length; every other one begins with its length.
_LENGTHS: Final = {"delivery_mode": 1, "priority": 1, "timestamp": 8}
#: Header values of a fixed length by their type; those of _MEASURED begin with their length.
_VALUE_LENGTHS: Final = {
    ord(kind): length
    for length, kinds in {0: "V\0", 1: "tbB", 2: "su", 4: "Iif", 5: "D", 8: "lLdT"}.items()
    for kind in kinds
}
_MEASURED: Final = frozenset(b"SAFx")
_TEXT: Final = ord("S")
_BYTES: Final = ord("x")


class NotProperties(ValueError):  # noqa: N818 - named by what the bytes are
    """These bytes are not properties as AMQP 0-9-1 with RabbitMQ's errata writes them."""


class Header(NamedTuple):
    """One entry of the headers; `value` is still encoded, its type first."""

    name: bytes
    value: bytes

    @property
    def text(self) -> str | None:
        """The value as a text, or None when it is not one; bytes that are UTF-8 count as one."""
        if self.value[:1] not in {b"S", b"x"}:
            return None
        try:
            return self.value[5:].decode()
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Properties:
    """Properties taken apart: `fields` by name and without lengths, `headers` None if unset."""

    fields: Mapping[str, bytes] = field(default_factory=dict)
    headers: tuple[Header, ...] | None = None

    def text(self, name: str) -> str | None:
        """Return a property as a text; bytes that are not UTF-8 become lone surrogates.

        No check for printable texts lets those pass, and two ids that differ stay different.
        """
        content = self.fields.get(name)
        return None if content is None else content.decode(errors="surrogateescape")

    def header_texts(self) -> dict[str, str]:
        """Return the headers that are texts by name; all others are left out."""
        texts = ((_name(header), header.text) for header in self.headers or ())
        return {name: text for name, text in texts if name is not None and text is not None}


def text_header(name: str, text: str) -> Header:
    """Make a header that holds a text."""
    return _measured(name.encode(), _TEXT, text.encode(errors="backslashreplace"))


def bytes_header(name: str, content: bytes) -> Header:
    """Make a header that holds bytes."""
    return _measured(name.encode(), _BYTES, content)


def take_apart(encoded: bytes) -> Properties:
    """Take apart what follows the body's size in a content header.

    Raises NotProperties when that is cut off, goes on too long, or holds an unknown type.
    """
    reader = _Reader(encoded)
    flags = reader.number(2)
    if flags & 0b11:
        raise NotProperties("more flags than there are properties")
    fields: dict[str, bytes] = {}
    headers: tuple[Header, ...] | None = None
    for name, bit in _FLAGS.items():
        if not flags >> bit & 1:
            continue
        if name == "headers":
            headers = _headers(reader.take(reader.number(4)))
        else:
            fields[name] = reader.take(_LENGTHS.get(name) or reader.number(1))
    reader.expect_end()
    return Properties(fields, headers)


def put_together(properties: Properties) -> bytes:
    """Encode properties; what came from `take_apart` comes out as it was."""
    flags, parts = 0, []
    for name, bit in _FLAGS.items():
        content = properties.fields.get(name)
        if name == "headers" and properties.headers is not None:
            table = b"".join(
                bytes([len(header.name)]) + header.name + header.value
                for header in properties.headers
            )
            content = struct.pack(">I", len(table)) + table
        elif content is not None and name not in _LENGTHS:
            content = bytes([len(content)]) + content
        if content is not None:
            flags |= 1 << bit
            parts.append(content)
    return struct.pack(">H", flags) + b"".join(parts)


def _headers(table: bytes) -> tuple[Header, ...]:
    reader, headers = _Reader(table), []
    while not reader.at_end:
        name = reader.take(reader.number(1))
        kind = reader.number(1)
        if kind in _MEASURED:
            headers.append(_measured(name, kind, reader.take(reader.number(4))))
        elif kind in _VALUE_LENGTHS:
            headers.append(Header(name, bytes([kind]) + reader.take(_VALUE_LENGTHS[kind])))
        else:
            raise NotProperties(f"a header of an unknown type: {kind}")
    return tuple(headers)


def _measured(name: bytes, kind: int, content: bytes) -> Header:
    return Header(name, struct.pack(">BI", kind, len(content)) + content)


def _name(header: Header) -> str | None:
    try:
        return header.name.decode()
    except UnicodeDecodeError:
        return None


class _Reader:
    """Reads bytes from front to back, and never beyond the end."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._encoded)

    def take(self, length: int) -> bytes:
        taken = self._encoded[self._at : self._at + length]
        if len(taken) < length:
            raise NotProperties("cut off")
        self._at += length
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def expect_end(self) -> None:
        if not self.at_end:
            raise NotProperties("more bytes than the flags tell of")
