"""How the process speaks in its log: a JSON object a line, or lines for people.

No secret is formatted on purpose; what a library puts into its words is redacted here."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, TextIO

from config.redaction import redact

# These say at INFO what our own records say better, and httpx names every URL it calls.
_CHATTY = ("aio_pika", "aiormq", "aiohttp", "alembic", "asyncio", "httpcore", "httpx", "sqlalchemy")

# What a record holds beside its `extra`.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(
    level: str,
    format: Literal["json", "console"],  # noqa: A002 - the setting's own word
    *,
    stream: TextIO | None = None,
) -> None:
    """Send every record of at least this level, and every warning, to the stream or stderr."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


class JsonFormatter(logging.Formatter):
    """Time, level, logger and message, then the record's own fields, then the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        head = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        # The head twice: first for its place, last so that no field overwrites it.
        fields = {**head, **dict(_fields(record)), **dict(_traces(self, record)), **head}
        return json.dumps(fields, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time of day, level, message and fields on one line; an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, or a few."""
        time = _time(record).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={_brief(value)}" for name, value in _fields(record))
        line = f"{time} {record.levelname:<7} {redact(record.getMessage())}{fields}"
        return "\n".join([line, *(text for _, text in _traces(self, record))])


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name, value in vars(record).items():
        if name not in _BUILT_IN:
            yield name, _plain(value)


def _plain(value: object) -> object:
    """The value as JSON can hold it, without secrets."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return redact(str(value))


def _brief(value: object) -> object:
    """The value so that its end is seen: in quotes when there is a space or a line end in it."""
    return json.dumps(value, ensure_ascii=False) if len(str(value).split()) > 1 else value


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    if record.exc_info:
        yield "exception", redact(formatter.formatException(record.exc_info))
    if record.stack_info:
        yield "stack", redact(formatter.formatStack(record.stack_info))
