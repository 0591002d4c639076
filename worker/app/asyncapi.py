"""What the worker hears and says, as an AsyncAPI 3.0 document (https://www.asyncapi.com).

Derived from what it works with: the shapes that read requests, the sets of statuses and reasons,
the topology. Nothing is read and nobody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.app.examples import CANCELLATIONS, REQUESTS, an_event
from worker.app.parts import SHAPES
from worker.core.cancellations import CancelBody
from worker.core.event_schema import EVENT, WHEN, of_kind
from worker.core.messages import BODY_LIMIT, TRACEPARENT_PATTERN, DeadReason
from worker.core.requests import NAME_LIMIT
from worker.rabbitmq import topology
from worker.rabbitmq.outbox import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

_BINDING: Final = "0.3.0"
_SCHEMAS: Final = "#/components/schemas/"
_JSON: Final = "application/json"
_STRUCTURED: Final = "application/cloudevents+json"
_TEXT: Final = {"type": "string"}
_NAME: Final = {**_TEXT, "minLength": 1, "maxLength": NAME_LIMIT}
_TRACEPARENT: Final = {**_TEXT, "pattern": f"^{TRACEPARENT_PATTERN}$"}
#: What is heard may be empty, which says the same as its absence.
_GIVEN: Final = {**_TEXT, "maxLength": NAME_LIMIT}
#: Of these no message is refused, so that no form of theirs is asked for.
_TRACE_HEARD: Final = {
    "description": "As W3C's Trace Context has it; passed over where it has another form.",
    "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
}
_ID_HEARD: Final = {
    "description": (
        f"Serves where the message has no message_id, as a text of 1 to {NAME_LIMIT} bytes; passed "
        "over where it has one."
    ),
}
#: A media type, in capitals or not, with spaces around it and parameters behind it. JSON Schema
#: knows no pattern without regard to case.
_JSON_SPELLED: Final = "".join(
    f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in _JSON
)


def document(version: str) -> dict[str, Any]:
    """Return the whole document, ready to be written as JSON; `version` is the release's."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "withdrawals-worker",
            "version": version,
            "description": (
                "Takes withdrawal requests from RabbitMQ, pays them out through a brokerage API, "
                "and reports every step. A request's message_id is its identity for ever."
            ),
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": _JSON,
        "servers": {
            "broker": {
                "host": "{host}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ, as WORKER_RABBITMQ__URL names it; amqps for TLS.",
                "variables": {"host": {"default": "localhost:5672"}},
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> dict[str, Any]:
    queues = {queue.name: queue for queue in topology.TOPOLOGY.queues}
    return {
        "requests": {
            **_routed(topology.COMMANDS_EXCHANGE, topology.REQUEST_KEY, _request_messages()),
            "description": "Requests for a withdrawal.",
            "x-queue": _queue(queues[topology.REQUESTS]),
        },
        "cancellations": {
            **_routed(topology.COMMANDS_EXCHANGE, topology.CANCEL_KEY, _cancel_messages()),
            "description": "What is to be cancelled.",
            "x-queue": _queue(queues[topology.CANCELLATIONS]),
        },
        "events": {
            **_routed(topology.EVENTS_EXCHANGE, "withdrawal.{change}", _event_messages()),
            "description": "Every step of every withdrawal; bind a queue of your own.",
            "parameters": {"change": {"enum": list(WHEN), "description": "What has happened."}},
        },
        "replies": {
            "address": None,
            "description": "A copy of each event, to the queue that a message's reply_to named.",
            "messages": _named(_event_messages()),
            "bindings": {"amqp": {**_exchange("", "default"), "bindingVersion": _BINDING}},
        },
        "deadLetters": {
            "address": topology.DEAD_LETTERS,
            "description": "What could not be carried out, as it came, with the reason.",
            "messages": _named(["deadLetter"]),
            "bindings": {
                "amqp": {
                    "is": "queue",
                    "queue": {
                        "name": topology.DEAD_LETTERS,
                        "durable": True,
                        "exclusive": False,
                        "autoDelete": False,
                    },
                    "bindingVersion": _BINDING,
                }
            },
            "x-queue": _queue(queues[topology.DEAD_LETTERS]),
        },
    }


def _routed(exchange: str, key: str, messages: Iterable[str]) -> dict[str, Any]:
    bindings = {**_exchange(exchange, "topic"), "bindingVersion": _BINDING}
    return {"address": key, "messages": _named(messages), "bindings": {"amqp": bindings}}


def _exchange(name: str, kind: str) -> dict[str, Any]:
    about = {"name": name, "type": kind, "durable": True, "autoDelete": False}
    return {"is": "routingKey", "exchange": about}


def _queue(queue: topology.Queue) -> dict[str, Any]:
    """Tell how the worker declares a queue, and what it is bound to."""
    return {
        "name": queue.name,
        "arguments": dict(queue.arguments),
        "exchange": queue.exchange,
        "routingKey": queue.routing_key,
    }


def _operations() -> dict[str, Any]:
    confirmed = {"deliveryMode": 2, "timestamp": True, "bindingVersion": _BINDING}
    return {
        "takeRequest": _taken("requests", _request_messages()),
        "takeCancellation": _taken("cancellations", _cancel_messages()),
        "announce": _sent("events", _event_messages(), {**confirmed, "mandatory": False}),
        "answer": _sent("replies", _event_messages(), {**confirmed, "mandatory": True}),
        "bury": _sent(
            "deadLetters", ["deadLetter"], {"mandatory": True, "bindingVersion": _BINDING}
        ),
    }


def _taken(channel: str, messages: Iterable[str]) -> dict[str, Any]:
    """Describe what is heard; each message is acknowledged once what it asks for is durable."""
    return {
        "action": "receive",
        "channel": _ref("channels", channel),
        "messages": _of(channel, messages),
        "reply": {
            "channel": _ref("channels", "replies"),
            "messages": _of("replies", _event_messages()),
        },
        "bindings": {"amqp": {"ack": True, "bindingVersion": _BINDING}},
    }


def _sent(channel: str, messages: Iterable[str], binding: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": _ref("channels", channel),
        "messages": _of(channel, messages),
        "bindings": {"amqp": binding},
    }


def _messages() -> dict[str, Any]:
    return {
        **{
            _request_name(provider): _heard(
                f"A request for a withdrawal through {provider}",
                shape.__name__,
                REQUESTS[provider],
            )
            for provider, shape in SHAPES.items()
        },
        "requestCloudEvent": _wrapped(
            "A request as a CloudEvent", "RequestCloudEvent", REQUESTS["bluum"]
        ),
        "cancellation": _heard("What is to be cancelled", "Cancellation", CANCELLATIONS),
        "cancellationCloudEvent": _wrapped(
            "A cancellation as a CloudEvent", "CancellationCloudEvent", CANCELLATIONS
        ),
        **{_event_name(word): _event(word, when) for word, when in WHEN.items()},
        "deadLetter": _dead_letter(),
    }


def _heard(summary: str, schema: str, examples: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "contentType": _JSON,
        "payload": {"$ref": f"{_SCHEMAS}{schema}"},
        "headers": {"$ref": f"{_SCHEMAS}CloudEventHeaders"},
        "x-amqp-properties": {"$ref": f"{_SCHEMAS}HeardProperties"},
        "bindings": {"amqp": {"bindingVersion": _BINDING}},
        "examples": [{"name": name, "payload": body} for name, body in examples.items()],
    }


def _wrapped(summary: str, schema: str, data: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": "ce-1", "source": "/orders", "type": "order"}
    return {
        "summary": f"{summary}, in structured mode",
        "contentType": _STRUCTURED,
        "payload": {"$ref": f"{_SCHEMAS}{schema}"},
        "x-amqp-properties": {"$ref": f"{_SCHEMAS}HeardProperties"},
        "bindings": {"amqp": {"bindingVersion": _BINDING}},
        "examples": [
            {"name": name, "payload": {**event, "data": body}} for name, body in data.items()
        ],
    }


def _event(word: str, when: str) -> dict[str, Any]:
    kind = f"withdrawal.{word}"
    return {
        "name": kind,
        "summary": f"{when[0].upper()}{when[1:]}.",
        "contentType": _JSON,
        "payload": {"allOf": [{"$ref": f"{_SCHEMAS}Event"}, of_kind(word)]},
        "headers": {"$ref": f"{_SCHEMAS}EventHeaders"},
        "x-amqp-properties": {"$ref": f"{_SCHEMAS}SaidProperties"},
        "bindings": {"amqp": {"messageType": kind, "bindingVersion": _BINDING}},
        "examples": [{"name": word, "payload": an_event(word)}],
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "summary": "A message that could not be carried out",
        "description": "Body and properties as they came; the reason stands in the headers.",
        "payload": {},
        "headers": {"$ref": f"{_SCHEMAS}DeadLetterHeaders"},
        "bindings": {"amqp": {"bindingVersion": _BINDING}},
        "examples": [
            {
                "name": "invalid",
                "payload": {"provider": "bluum", "amount": 500},
                "headers": {
                    "x-reason": DeadReason.INVALID.value,
                    "x-reason-detail": "amount: expected a decimal string",
                    "x-dead-lettered-at": "2026-06-02T09:00:00.000Z",
                    "x-origin-queue": topology.REQUESTS,
                },
            }
        ],
    }


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for provider, shape in SHAPES.items():
        own = _schema_of(shape, schemas)
        # It is checked before the shape is; who leaves it out means the default provider.
        own["required"].remove("provider")
        own["description"] = (
            f"A withdrawal through {provider}. `provider` may be left out where "
            "WORKER_DEFAULT_PROVIDER names it."
        )
    cancellation = _schema_of(CancelBody, schemas, name="Cancellation")
    cancellation["properties"]["provider"]["enum"] = list(SHAPES)
    requests = {"oneOf": [{"$ref": f"{_SCHEMAS}{shape.__name__}"} for shape in SHAPES.values()]}
    return schemas | {
        "RequestCloudEvent": _cloud_event(requests),
        "CancellationCloudEvent": _cloud_event({"$ref": f"{_SCHEMAS}Cancellation"}),
        "Event": EVENT,
        **_PROPERTIES,
    }


def _schema_of(
    shape: type[BaseModel], schemas: dict[str, Any], *, name: str | None = None
) -> dict[str, Any]:
    """Put what describes a shape, and what it is made of, among the schemas; return its own."""
    own = shape.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    parts = own.pop("$defs", {})
    for part in (own, *parts.values()):
        # The house's own words, and names that say what the keys say.
        part.pop("description", None)
        for field in part["properties"].values():
            field.pop("title", None)
            # What may be null may be absent, and says the same by it.
            if not field.get("default"):
                field.pop("default", None)
    schemas |= {**parts, name or shape.__name__: own}
    own["title"] = name or shape.__name__
    return own


def _cloud_event(data: dict[str, Any]) -> dict[str, Any]:
    """Describe CloudEvents 1.0 in structured mode; whatever else stands in it is passed over."""
    return {
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _ID_HEARD,
            "datacontenttype": {
                **_TEXT,
                "pattern": rf"^\s*{_JSON_SPELLED}\s*(?:;[\s\S]*)?$",
                "description": f"{_JSON}, as when it is absent.",
            },
            "traceparent": _TRACE_HEARD,
            "data": data,
            "data_base64": {
                **_TEXT,
                "contentEncoding": "base64",
                "contentMediaType": _JSON,
                "description": "The same document as base64.",
            },
        },
        "required": ["specversion"],
        "oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}],
    }


_PROPERTIES: Final[dict[str, Any]] = {
    "HeardProperties": {
        "type": "object",
        "description": f"AMQP properties of what is taken. A body has at most {BODY_LIMIT} bytes.",
        "properties": {
            "message_id": {
                **_GIVEN,
                "description": (
                    "The identity of what is asked for, for ever. Required, unless there is a "
                    "CloudEvent's id, which serves then."
                ),
            },
            "content_type": {**_TEXT, "description": f"{_JSON}, as when it is absent."},
            "correlation_id": _GIVEN,
            "reply_to": {**_GIVEN, "description": "A queue that gets a copy of each event."},
            "timestamp": {"type": "integer"},
        },
    },
    "SaidProperties": {
        "type": "object",
        "description": "AMQP properties of an event.",
        "properties": {
            "message_id": {**_NAME, "description": "The event_id."},
            "type": {**_NAME, "description": "The event's type, as the routing key."},
            "correlation_id": _NAME,
            "content_type": {"const": _JSON},
            "delivery_mode": {"const": 2},
            "timestamp": {"type": "integer"},
            "app_id": {"const": "withdrawals-worker"},
        },
        "required": ["message_id", "type", "content_type", "delivery_mode", "timestamp", "app_id"],
    },
    "CloudEventHeaders": {
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode; `cloudEvents_` is understood as well.",
        "properties": {
            "traceparent": _TRACE_HEARD,
            "cloudEvents:specversion": {"const": "1.0"},
            "cloudEvents:id": _ID_HEARD,
        },
    },
    "EventHeaders": {
        "type": "object",
        "properties": {
            "cloudEvents:specversion": {"const": "1.0"},
            "cloudEvents:id": _TEXT,
            "cloudEvents:type": _TEXT,
            "cloudEvents:source": {"const": SOURCE},
            "cloudEvents:subject": {**_TEXT, "description": "The message_id of the request."},
            "cloudEvents:time": {**_TEXT, "format": "date-time"},
            "traceparent": _TRACEPARENT,
        },
        "required": [
            f"cloudEvents:{name}"
            for name in ("specversion", "id", "type", "source", "subject", "time")
        ],
    },
    "DeadLetterHeaders": {
        "type": "object",
        "properties": {
            "x-reason": {"enum": [reason.value for reason in DeadReason]},
            "x-reason-detail": {
                **_TEXT,
                "description": "Which field, and what was expected; never the value of a secret.",
            },
            "x-dead-lettered-at": {**_TEXT, "format": "date-time"},
            "x-origin-queue": {"enum": [topology.REQUESTS, topology.CANCELLATIONS]},
        },
        "required": ["x-reason", "x-reason-detail", "x-dead-lettered-at", "x-origin-queue"],
    },
}


def _request_messages() -> list[str]:
    return [*map(_request_name, SHAPES), "requestCloudEvent"]


def _cancel_messages() -> list[str]:
    return ["cancellation", "cancellationCloudEvent"]


def _event_messages() -> list[str]:
    return [_event_name(word) for word in WHEN]


def _request_name(provider: str) -> str:
    return f"request.{provider}"


def _event_name(word: str) -> str:
    return f"withdrawal.{word}"


def _named(messages: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


def _of(channel: str, messages: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages]


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": f"#/{'/'.join(path)}"}
