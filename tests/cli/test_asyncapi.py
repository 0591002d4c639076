"""`asyncapi`: what others build against by tools is valid, whole, and true of the real messages.

That the schemas of bodies say what the parsers say is tested field by field in tests/core."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from config.providers import CREDENTIALS
from tests.cli.running import Commands
from tests.rabbitmq.at_work import at_work
from tests.rabbitmq.upstream import upstream
from worker.app import SHAPES
from worker.app.asyncapi import document as written
from worker.app.examples import CANCELLATIONS, REQUESTS, an_event
from worker.core.cancellations import Cancel, read_cancel
from worker.core.change import CANCEL_REFUSED
from worker.core.messages import DeadReason, Envelope, Understood, read
from worker.core.sale import SaleStatus
from worker.core.withdrawal import ReasonCode, Status
from worker.flows.ports import Outgoing
from worker.flows.settlement import Bury
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.topology import DEAD_LETTERS, EVENTS_EXCHANGE, TOPOLOGY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aio_pika.abc import AbstractIncomingMessage

    from worker.flows.settlement import Settlement

#: AsyncAPI's own schema; where it is from, and what was left out, stands in it.
ASYNCAPI: Final = Path(__file__).parent / "asyncapi-3.0.0.json"
TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY: Final = {
    "investor_id": "inv_01",
    "amount": "5.00",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_01",
}
CLOUD: Final = {"specversion": "1.0", "id": "ce-1"}
STRUCTURED: Final = "application/cloudevents+json"

_Strategy: TypeAlias = "st.SearchStrategy[Any]"
_ids = st.sampled_from(["", "ce-1", "a\x00", "x" * 256]) | st.text(max_size=4)
_anything: _Strategy = st.none() | st.booleans() | st.integers() | _ids | st.just([])
_traces = st.just(TRACE) | st.just(TRACE.upper()) | _anything
_spaces = st.text(" \t\n\u00a0\u2028", max_size=2)
_media_types = st.builds(
    lambda *parts: "".join(parts),
    _spaces,
    st.sampled_from(["application/json", "Application/JSON", "APPLICATION/JSON", "text/xml"]),
    _spaces,
    st.sampled_from(["", ";", "; charset=UTF-8", ";\nv=1"]),
)
_bodies = st.sampled_from(
    [("requestCloudEvent", body) for by_name in REQUESTS.values() for body in by_name.values()]
    + [("cancellationCloudEvent", body) for body in CANCELLATIONS.values()]
)
_events = st.fixed_dictionaries(
    {"specversion": st.sampled_from(["1.0", "1.0", "1.0", "0.3"])},
    optional={
        "id": _anything,
        "datacontenttype": _media_types | _anything,
        "traceparent": _traces,
        "source": _anything,
        "time": _anything,
    },
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "traceparent": st.sampled_from([TRACE, TRACE.upper()]) | _ids,
        "cloudEvents:specversion": st.sampled_from(["1.0", "1.0", "1.0", "0.3"]),
        "cloudEvents:id": _ids,
        "cloudEvents:type": _ids,
    },
)
_accompanying: _Strategy = st.fixed_dictionaries(
    {"message_id": st.just("m-1") | _ids},
    optional={"correlation_id": _ids, "reply_to": _ids, "content_type": _media_types},
)


@pytest.fixture(scope="module")
def printed() -> str:
    """What the command prints, without any settings."""
    result = Commands()("asyncapi")
    assert 0 == result.exit_code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def document(printed: str) -> dict[str, Any]:
    """The printed document."""
    parsed: dict[str, Any] = json.loads(printed)
    return parsed


def test_it_is_a_valid_document(document: dict[str, Any]) -> None:
    """
    By AsyncAPI's own schema; every reference leads somewhere, and nothing is described for nobody.
    """
    problems = Draft7Validator(json.loads(ASYNCAPI.read_text())).iter_errors(document)
    references = set(_references(document))
    declared = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
    }

    assert [] == [(list(problem.path), problem.message) for problem in problems]
    assert set() == {reference for reference in references if not _leads(document, reference)}
    assert set() == declared - references


def test_another_process_prints_the_same_bytes(printed: str, tmp_path: Path) -> None:
    """
    So that it can be kept beside code and compared: nothing of it depends on hashes or settings.
    """
    output = subprocess.run(
        [sys.executable, "-m", "worker", "asyncapi"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7"}
        | {name: os.environ[name] for name in ("PATH",) if name in os.environ},
        capture_output=True,
        check=True,
    ).stdout

    assert printed.encode() == output


def test_every_word_of_the_worker_is_in_it(document: dict[str, Any]) -> None:
    """
    Providers, types of events, statuses, reasons: each set is the one that the worker works with.
    """
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    event = schemas["Event"]["properties"]
    types = {f"withdrawal.{word}" for word in (*Status, CANCEL_REFUSED)}

    assert {f"request.{provider}" for provider in CREDENTIALS} == {
        name for name in messages if name.startswith("request.")
    }
    assert [*CREDENTIALS] == schemas["Cancellation"]["properties"]["provider"]["enum"]
    assert types == {name for name in messages if name.startswith("withdrawal.")}
    assert types == {*event["type"]["enum"]}
    assert {*Status, None} == {*event["status"]["enum"]} == {*event["previous_status"]["enum"]}
    assert {*ReasonCode} == {*event["reason"]["properties"]["code"]["enum"]}
    assert {*SaleStatus} == {*event["orders"]["items"]["properties"]["status"]["enum"]}
    assert {*DeadReason} == {*schemas["DeadLetterHeaders"]["properties"]["x-reason"]["enum"]}


def test_every_queue_and_exchange_is_in_it(document: dict[str, Any]) -> None:
    """
    As the topology declares them: names, arguments, bindings.
    """
    channels = document["channels"].values()
    queues = [channel["x-queue"] for channel in channels if "x-queue" in channel]
    exchanges = {queue["exchange"] for queue in queues} | {
        channel["bindings"]["amqp"].get("exchange", {}).get("name") for channel in channels
    }
    expected = [
        {
            "name": queue.name,
            "arguments": queue.arguments,
            "exchange": queue.exchange,
            "routingKey": queue.routing_key,
        }
        for queue in TOPOLOGY.queues
    ]

    assert sorted(expected, key=str) == sorted(queues, key=str)
    # The default exchange serves the replies; a queue of its own has no exchange in its binding.
    assert {*TOPOLOGY.exchanges, "", None} == exchanges
    assert {"address": "withdrawal.request", "is": "routingKey"} == {
        "address": document["channels"]["requests"]["address"],
        "is": document["channels"]["requests"]["bindings"]["amqp"]["is"],
    }


def test_the_worker_takes_and_sends_what_it_says(document: dict[str, Any]) -> None:
    """
    Two kinds of messages are received, three are sent, and every message is in one of them.
    """
    operations = document["operations"].values()
    carried = {
        _at(document, named["$ref"])["$ref"] for one in operations for named in one["messages"]
    }

    assert [("receive", "requests"), ("receive", "cancellations")] + [
        ("send", name) for name in ("events", "replies", "deadLetters")
    ] == [(one["action"], one["channel"]["$ref"].rpartition("/")[2]) for one in operations]
    assert {f"#/components/messages/{name}" for name in document["components"]["messages"]} == (
        carried
    )


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """
    Each message has one or more, with names of their own.
    """
    for name, message in document["components"]["messages"].items():
        names = [shown["name"] for shown in message["examples"]]
        assert names, name
        assert len(names) == len(set(names)), name
        for shown in message["examples"]:
            for part in ("payload", "headers"):
                if part in shown:
                    said = (name, shown["name"], part)
                    pointer = f"#/components/messages/{name}/{part}"
                    assert (said, []) == (said, _problems(document, pointer, shown[part]))


def test_the_worker_reads_every_example(document: dict[str, Any]) -> None:
    """
    A request by the provider it is for, a cancellation by what it names, each way it may come.
    """
    taken = {
        name: message
        for name, message in document["components"]["messages"].items()
        if name.startswith(("request", "cancellation"))
    }
    assert len(SHAPES) + 3 == len(taken)
    for name, message in taken.items():
        for shown in message["examples"]:
            body, kind = shown["payload"], message["contentType"]
            wanted = Cancel if name.startswith("cancellation") else Understood
            found = _read(body, kind, cancels=wanted is Cancel)

            assert isinstance(found, wanted), (name, shown["name"], found)
            provider = name.partition(".")[2]
            assert found.provider == (provider or body.get("data", body).get("provider"))


@pytest.mark.parametrize(
    ("message", "body", "holds"),
    [
        pytest.param("request.bluum", BODY, True, id="the default provider"),
        pytest.param("request.bluum", {**BODY, "amount": 5}, False, id="amount as a number"),
        pytest.param("request.bluum", {**BODY, "amount": "0.00"}, False, id="no amount"),
        pytest.param("request.bluum", {**BODY, "iban": "x"}, False, id="surplus"),
        pytest.param("request.bluum", {**BODY, "sell": []}, False, id="no orders"),
        pytest.param("request.bluum", {**BODY, "sell": None}, True, id="null for no orders"),
        pytest.param("request.bluum", [BODY], False, id="a list"),
        pytest.param("cancellation", {}, False, id="cancel nothing"),
        pytest.param("cancellation", {"withdrawal_id": "wd_01"}, True, id="cancel"),
        pytest.param(
            "cancellation", {"withdrawal_id": "w", "provider": "x"}, False, id="whose withdrawal"
        ),
        pytest.param("requestCloudEvent", {**CLOUD, "data": BODY, "more": 1}, True, id="cloud"),
        pytest.param("requestCloudEvent", {**CLOUD, "data_base64": 5}, False, id="base64"),
        pytest.param("requestCloudEvent", {**CLOUD}, False, id="cloud without data"),
        pytest.param("requestCloudEvent", {"id": "ce-1", "data": BODY}, False, id="no version"),
        pytest.param(
            "requestCloudEvent", {**CLOUD, "specversion": "0.3", "data": BODY}, False, id="0.3"
        ),
        pytest.param(
            "requestCloudEvent",
            {**CLOUD, "data": BODY, "datacontenttype": "text/xml"},
            False,
            id="a cloud of XML",
        ),
        pytest.param(
            "requestCloudEvent", {**CLOUD, "data": BODY, "data_base64": ""}, False, id="twice"
        ),
    ],
)
def test_schema_and_worker_agree(
    document: dict[str, Any], message: str, body: object, *, holds: bool
) -> None:
    """
    Bodies as the printed schemas see them, with their references, and as the worker reads them.
    """
    described = document["components"]["messages"][message]
    found = _read(body, described["contentType"], cancels=message == "cancellation")

    assert holds is isinstance(found, Understood | Cancel), found
    assert holds is (not _problems(document, f"#/components/messages/{message}/payload", body))


@settings(max_examples=40)
@given(wrapped=_bodies, event=_events, in_base64=st.booleans(), properties=_accompanying)
@example(("requestCloudEvent", BODY), {**CLOUD, "datacontenttype": "Application/JSON"}, False, {})
@example(("requestCloudEvent", BODY), {**CLOUD, "traceparent": "malformed"}, False, {})
@example(("requestCloudEvent", BODY), {**CLOUD, "id": 7}, True, {"message_id": "m-1"})
def test_every_cloud_event_that_the_worker_reads_is_described(
    wrapped: tuple[str, dict[str, Any]],
    event: dict[str, Any],
    in_base64: bool,
    properties: dict[str, Any],
) -> None:
    """
    In structured mode. Whoever checks a message before sending it refuses none that would be taken.
    """
    name, body = wrapped
    data = {"data_base64": _base64(body)} if in_base64 else {"data": body}
    said = {key: value for key, value in properties.items() if key != "content_type"}
    envelope = Envelope(body=json.dumps(event | data).encode(), content_type=STRUCTURED, **said)
    assume(_is_taken(envelope, cancels=name == "cancellationCloudEvent"))

    assert [] == _told(f"#/components/messages/{name}/payload", event | data)
    assert [] == _told("#/components/schemas/HeardProperties", said)


@settings(max_examples=40)
@given(wrapped=_bodies, headers=_headers, properties=_accompanying)
@example(("requestCloudEvent", BODY), {"traceparent": "malformed"}, {"message_id": "m-1"})
def test_all_that_accompanies_a_message_that_the_worker_reads_is_described(
    wrapped: tuple[str, dict[str, Any]],
    headers: dict[str, str],
    properties: dict[str, Any],
) -> None:
    """
    Headers and properties of a plain message, and of a CloudEvent in binary mode.
    """
    name, body = wrapped
    envelope = Envelope(body=json.dumps(body).encode(), headers=headers, **properties)
    assume(_is_taken(envelope, cancels=name == "cancellationCloudEvent"))

    assert [] == _told("#/components/schemas/CloudEventHeaders", headers)
    assert [] == _told("#/components/schemas/HeardProperties", properties)


async def test_what_is_on_the_wire_is_as_described(
    document: dict[str, Any], rabbitmq_vhost: str
) -> None:
    """
    An event and a dead letter as a real broker hands them out: properties and headers.
    """

    async def bury(_envelope: Envelope) -> Settlement:
        return Bury(DeadReason.INVALID, "amount: expected a decimal string")

    body = an_event("completed")
    event = Outgoing(
        row=1,
        sequence=body["sequence"],
        event_id=body["event_id"],
        type=body["type"],
        body=json.dumps(body).encode(),
        created_at=datetime.fromisoformat(body["occurred_at"]),
        message_id=body["message_id"],
        correlation_id=None,
        reply_to=None,
        traceparent=TRACE,
    )
    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, bury) as work,
        service.connection.channel() as channel,
    ):
        audit = await channel.declare_queue("audit", durable=True)
        await audit.bind(EVENTS_EXCHANGE, "withdrawal.*")
        graves = await channel.get_queue(DEAD_LETTERS)
        await Outbox(work.publisher).announce(event)
        await service.request("req-1")
        async with audit.iterator() as events, graves.iterator() as letters:
            told, letter = await anext(events), await anext(letters)

    schemas = "#/components/schemas/"
    assert [] == _problems(document, f"{schemas}SaidProperties", _properties(told))
    assert [] == _problems(document, f"{schemas}EventHeaders", dict(told.headers))
    assert told.headers.keys() <= _properties_of(document, "EventHeaders")
    assert [] == _problems(
        document, "#/components/messages/withdrawal.completed/payload", json.loads(told.body)
    )
    assert [] == _problems(document, f"{schemas}DeadLetterHeaders", dict(letter.headers))
    assert _properties_of(document, "DeadLetterHeaders") <= letter.headers.keys()


def _read(body: object, content_type: str, *, cancels: bool) -> object:
    envelope = Envelope(body=json.dumps(body).encode(), message_id="m-1", content_type=content_type)
    return _read_in(envelope, cancels=cancels)


def _read_in(envelope: Envelope, *, cancels: bool) -> object:
    if cancels:
        return read_cancel(envelope, providers=SHAPES, default_provider="bluum")
    return read(envelope, shapes=SHAPES, default_provider="bluum")


def _is_taken(envelope: Envelope, *, cancels: bool) -> bool:
    return isinstance(_read_in(envelope, cancels=cancels), Understood | Cancel)


def _base64(body: object) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def _problems(document: Mapping[str, Any], pointer: str, value: object) -> list[str]:
    """Return what does not fit the schema that stands at a place of the document."""
    schema = {**document, "$ref": pointer}
    return [problem.message for problem in Draft7Validator(schema).iter_errors(value)]


def _told(pointer: str, value: object) -> list[str]:
    """Return the same for many values, by a document that is made once."""
    return [problem.message for problem in _schema_at(pointer).iter_errors(value)]


@cache
def _schema_at(pointer: str) -> Draft7Validator:
    return Draft7Validator({**written("1"), "$ref": pointer})


def _properties(message: AbstractIncomingMessage) -> dict[str, Any]:
    said = {
        "message_id": message.message_id,
        "type": message.type,
        "correlation_id": message.correlation_id,
        "content_type": message.content_type,
        "delivery_mode": message.delivery_mode,
        "timestamp": message.timestamp and int(message.timestamp.timestamp()),
        "app_id": message.app_id,
    }
    return {name: value for name, value in said.items() if value is not None}


def _properties_of(document: Mapping[str, Any], schema: str) -> set[str]:
    return {*document["components"]["schemas"][schema]["properties"]}


def _references(node: object) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for name, inner in node.items():
                # Examples are messages, and hold no references.
                if name != "examples":
                    yield from _references(inner)
        case list():
            for inner in node:
                yield from _references(inner)
        case _:
            pass


def _leads(document: Mapping[str, Any], reference: str) -> bool:
    try:
        _at(document, reference)
    except KeyError:
        return False
    return True


def _at(document: Mapping[str, Any], reference: str) -> dict[str, Any]:
    place: Any = document
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    found: dict[str, Any] = place
    return found
