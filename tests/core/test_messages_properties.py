"""What holds for every message: it is read or refused, never raised, and never told of."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from tests.core.wire import GOOD, STRUCTURED, a_body, a_message, misread, understand, understood
from worker.core.messages import Envelope, Misread, Understood
from worker.core.requests import Request, read_request
from worker.providers.bluum import BluumRequest

# Lone surrogates included: JSON can write them down.
_texts = st.text(st.characters(), max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from([*BluumRequest.model_fields, "unknown"])
_properties = st.none() | _texts | st.sampled_from(["x" * 256, "withdrawals.requests"])
_envelopes = st.builds(
    Envelope,
    body=st.binary(max_size=64)
    | _json.map(lambda document: json.dumps(document).encode())
    | st.dictionaries(_names, _json).map(lambda fields: a_body(**fields)),
    message_id=_properties,
    content_type=_properties
    | st.sampled_from(["application/json", STRUCTURED, "application/json; charset=latin1"]),
    content_encoding=_properties | st.just("gzip"),
    correlation_id=_properties,
    reply_to=_properties,
    headers=st.dictionaries(
        _texts | st.sampled_from(["cloudEvents:id", "cloudEvents_specversion", "traceparent"]),
        _texts | st.just("1.0"),
        max_size=3,
    ),
    redelivered=st.booleans(),
)

SECRET: Final = "s3cr3t-DE89370400440532013000"


@given(_envelopes)
def test_reading_never_raises(envelope: Envelope) -> None:
    """
    Whatever comes is understood or misread; a bad message harms nobody.
    """
    message = understand(envelope)

    assert isinstance(message, Understood | Misread)
    assert 32 == len(message.fingerprint)


@given(st.dictionaries(_names, _json, min_size=1))
@example({"metadata": {"\ud800": "\ud800"}})
@example({"amount": float("inf")})
def test_any_value_of_any_field_is_read_or_refused(fields: dict[str, Any]) -> None:
    """
    No value that JSON can hold gets through the types by accident.
    """
    message = understand(a_message(a_body(**fields)))

    assert isinstance(message, Understood | Misread)
    if isinstance(message, Understood):
        assert message.request.amount > 0
        assert all(isinstance(text, str) for text in message.request.metadata.values())


@given(_envelopes)
def test_what_is_kept_of_a_message_can_be_stored_and_sent(envelope: Envelope) -> None:
    """
    Ids and details hold no control characters and fit AMQP, so that answering never fails.
    """
    message = understand(envelope)

    for kept in (
        message.context.message_id,
        message.context.correlation_id,
        message.context.reply_to,
    ):
        assert kept is None or 0 < len(kept.encode()) <= 255
        assert "\x00" not in (kept or "")
    if isinstance(message, Misread):
        assert message.detail.isascii()
        assert message.detail.isprintable()


@given(
    fields=st.permutations(list((GOOD | {"metadata": {"a": "ü", "b": "2"}}).items())),
    indent=st.sampled_from([None, 0, 1, "\t"]),
    escapes=st.booleans(),
)
def test_the_spelling_does_not_change_the_fingerprint(
    fields: list[tuple[str, Any]], indent: int | str | None, *, escapes: bool
) -> None:
    """
    The same request with other white space, order of fields and escapes is the same request.
    """
    body = json.dumps(dict(fields), indent=indent, ensure_ascii=escapes).encode()
    plain = a_body(metadata={"b": "2", "a": "ü"})

    assert understood(a_message(plain)).fingerprint == understood(a_message(body)).fingerprint


@given(_names, _json)
def test_any_changed_value_changes_the_fingerprint(name: str, value: object) -> None:
    """
    Another content under the same id is noticed, whether it is valid or not.
    """
    plain = a_body()
    changed = a_body(**{name: value})

    same = json.loads(plain) == json.loads(changed)
    equal = understand(a_message(plain)).fingerprint == understand(a_message(changed)).fingerprint
    assert same is equal


def test_the_wrapping_does_not_change_the_fingerprint() -> None:
    """
    A request that comes again as a CloudEvent is the same request.
    """
    body = json.dumps({"specversion": "1.0", "id": "another", "data": GOOD}).encode()
    wrapped = Envelope(body=body, content_type=STRUCTURED, message_id="req-1")

    assert understood(a_message()).fingerprint == understood(wrapped).fingerprint


@pytest.mark.parametrize(
    "value",
    [SECRET, [SECRET], {"x": SECRET}, {SECRET + "\x00": SECRET}, SECRET + "\ud800", SECRET * 100],
    ids=["text", "list", "map", "name in a map", "no Unicode", "long"],
)
@pytest.mark.parametrize("name", [*BluumRequest.model_fields, "unknown"])
def test_a_detail_never_tells_the_value(name: str, value: object) -> None:
    """
    Details travel in headers and events: what the field held stays out of them.
    """
    message = understand(a_message(a_body(**{name: value})))

    assert isinstance(message, Understood) or SECRET not in message.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"body": SECRET.encode()},
        {"body": f'"{SECRET}"'.encode()},
        {"body": f'{{"{SECRET}":1,"{SECRET}":2}}'.encode()},
        {"message_id": SECRET * 10},
        {"correlation_id": SECRET + "\x00"},
        {"reply_to": SECRET + "\x00"},
        {"content_type": SECRET},
        {"content_type": f"application/json; charset={SECRET}"},
        {"content_encoding": SECRET},
        {"headers": {"cloudEvents:specversion": SECRET}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_detail_never_tells_what_was_in_the_message(changes: dict[str, Any]) -> None:
    """
    Neither bodies that are no requests nor properties are repeated.
    """
    assert SECRET not in misread(a_message(**changes)).detail


def test_a_message_does_not_show_itself() -> None:
    """
    What a log may print of a message holds neither the body nor who is paid how much.
    """
    envelope = a_message(a_body(funding_source_id="fs_secret", amount="12345.67"))

    shown = repr(envelope) + repr(understood(envelope))

    assert "fs_secret" not in shown
    assert "12345.67" not in shown


class _OtherRequest(BluumRequest):
    """The shape of a provider whose fields are checked by the library's own types."""

    account: UUID
    item: Annotated[str, Field(max_length=3)]


@pytest.mark.parametrize(
    ("name", "kind"), [("account", "is_instance_of"), ("item", "string_too_long")]
)
def test_the_librarys_own_words_are_not_told(name: str, kind: str) -> None:
    """
    They may quote what was found, so only the kind of the problem is passed on.
    """
    shape: type[Request] = _OtherRequest

    told = read_request(shape, GOOD | {"account": UUID(int=0), "item": "x"} | {name: SECRET})

    assert f"{name}: expected another value ({kind})" == told
