"""How the process speaks in its log: a JSON object a line, or lines for people.

No secret is formatted on purpose; what a library puts into its words is redacted here.
docs/logs.md says what each field means."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from config.redaction import redact

#: Tells the ids of whatever the current task is working on.
Ids = Callable[[], Mapping[str, object]]

# These say at INFO what our own records say better, and httpx names every URL it calls.
_CHATTY = (
    "aio_pika",
    "aiormq",
    "aiohttp",
    "alembic",
    "asyncio",
    "httpcore",
    "httpx",
    "requests",
    "sqlalchemy",
    "urllib3",
)

# Said by our own records once for each trouble, and by the library at every single try.
_REPEATED = {"aiormq.connection": "error when creating transport"}

# What a record holds beside its `extra`.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# On a terminal what happened is read first, and of whom it is told last; the beginning of an id is
# enough there to tell it from others.
_IDS: Final = ("message_id", "provider", "withdrawal_id", "idempotency_key", "trace_id", "span_id")
_LONG: Final = frozenset({"idempotency_key", "trace_id", "span_id"})
_SHORT: Final = 8
_COLOURS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logging(
    level: str,
    format: Literal["json", "console"],  # noqa: A002 - the setting's own word
    *,
    stream: TextIO | None = None,
    context: Ids = dict,
) -> None:
    """Send every record of at least this level, and every warning, to the stream or stderr.

    `context` returns the ids of whatever is being worked on: every record carries them, unless it
    has fields of the same names. Lines for people are coloured on a terminal, unless NO_COLOR says
    otherwise (https://no-color.org).
    """
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    if format == "json":
        handler.setFormatter(JsonFormatter(context))
    else:
        colours = target.isatty() and not os.environ.get("NO_COLOR")
        handler.setFormatter(ConsoleFormatter(context, colours=colours))
    handler.addFilter(_is_news)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _is_news(record: logging.LogRecord) -> bool:
    repeated = _REPEATED.get(record.name)
    return repeated is None or not str(record.msg).startswith(repeated)


class JsonFormatter(logging.Formatter):
    """Time, level, logger and message, then fields and ids, then the exception."""

    def __init__(self, context: Ids = dict) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        head = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        # The head twice: first for its place, last so that no field overwrites it.
        own = {**dict(_fields(record, self._context)), **dict(_traces(self, record))}
        return json.dumps({**head, **own, **head}, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time of day, level, message, fields and ids on one line; an exception below it.

    Long ids are cut: the whole of them is in JSON. `colours` are those of a terminal.
    """

    def __init__(self, context: Ids = dict, *, colours: bool = False) -> None:
        super().__init__()
        self._context = context
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, or a few."""
        time = _time(record).astimezone().strftime("%H:%M:%S")
        head = f"{record.levelname:<7} {redact(record.getMessage())}"
        fields = dict(_fields(record, self._context))
        ids: dict[str, object] = {name: fields.pop(name) for name in _IDS if name in fields}
        said, whose = _shown(fields), _shown(ids)
        if self._colours:
            head = _coloured(head, _COLOURS.get(record.levelname))
            whose = _coloured(whose, _COLOURS["DEBUG"])
        line = f"{time} {head}{said}{whose}"
        return "\n".join([line, *(text for _, text in _traces(self, record))])


def _shown(fields: Mapping[str, object]) -> str:
    return "".join(
        f" {name}={_brief(name, value)}" for name, value in fields.items() if value is not None
    )


def _coloured(text: str, colour: str | None) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and text else text


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord, context: Ids) -> Iterator[tuple[str, object]]:
    own = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
    # Its own fields first, and the ids of the task in order after them.
    for name, value in {**own, **context(), **own}.items():
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


def _brief(name: str, value: object) -> object:
    """The value so that its end is seen: in quotes when there is a space or a line end in it."""
    if name in _LONG:
        value = str(value).removeprefix("wd-")[:_SHORT]
    # Also an escape sequence would change what is seen of the lines around it.
    text = str(value)
    is_plain = len(text.split()) <= 1 and text.isprintable()
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    if record.exc_info:
        yield "exception", redact(formatter.formatException(record.exc_info))
    if record.stack_info:
        yield "stack", redact(formatter.formatStack(record.stack_info))
