"""The log: one record, one line, and no secret in it."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest

from config.logging import configure_logging
from config.redaction import redact

PASSWORD = "hunter2"
URL = f"amqp://me:{PASSWORD}@broker:5672/"

type_of_log = Callable[[Literal["json", "console"]], io.StringIO]


class Screen(io.StringIO):
    """A text that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def configured() -> Iterator[type_of_log]:
    """Logging configured to a text, and put back as it was."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]

    def configure(form: Literal["json", "console"]) -> io.StringIO:
        stream = io.StringIO()
        configure_logging("INFO", form, stream=stream)
        return stream

    yield configure
    logging.captureWarnings(capture=False)
    root.level, root.handlers[:] = before


def test_a_record_is_one_json_object_on_one_line(configured: type_of_log) -> None:
    """
    Time, level, logger and message, then the record's own fields.
    """
    stream = configured("json")
    number = UUID(int=1)

    logging.getLogger("worker.flows").info(
        "withdrawal announced", extra={"sequence": 2, "amount": Decimal("5.00"), "id": number}
    )

    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    time = datetime.fromisoformat(fields.pop("time"))
    assert timedelta(0) == time.utcoffset()
    assert {
        "level": "info",
        "logger": "worker.flows",
        "message": "withdrawal announced",
        "sequence": 2,
        "amount": "5.00",
        "id": "00000000-0000-0000-0000-000000000001",
    } == fields


def test_time_has_milliseconds_and_z(configured: type_of_log) -> None:
    """
    Times sort as text.
    """
    assert r"2026-06-02T09:00:00.123Z" == _json_of(configured, created=1780390800.1234)["time"]


def test_a_field_cannot_pass_for_the_head(configured: type_of_log) -> None:
    """
    What a record calls `level` does not hide how severe it is.
    """
    assert "info" == _json_of(configured, level="critical")["level"]


def test_line_ends_stay_inside_the_line(configured: type_of_log) -> None:
    """
    No text that came from outside can forge a second record.
    """
    for form in ("json", "console"):
        stream = configured(form)
        logging.getLogger("worker").info("refused", extra={"why": "one\ntwo"})

        assert 1 == len(stream.getvalue().splitlines())


def test_nested_fields_stay_nested(configured: type_of_log) -> None:
    """
    A list or a mapping is not flattened into a text, and is redacted all the same.
    """
    assert {"urls": ["amqp://me:***@broker:5672/"], "none": None} == _json_of(
        configured, detail={"urls": (URL,), "none": None}
    )["detail"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_told_without_its_password(
    configured: type_of_log, form: Literal["json", "console"]
) -> None:
    """
    Type, words and frames are there, the password of an address is not.
    """
    stream = configured(form)

    try:
        raise ConnectionError(f"cannot reach {URL}")
    except ConnectionError:
        logging.getLogger("worker").exception("broker lost", extra={"address": URL})

    text = stream.getvalue()
    assert "ConnectionError: cannot reach amqp://me:***@broker:5672/" in text
    assert "test_logging.py" in text
    assert PASSWORD not in text


def test_a_stack_is_told_on_demand(configured: type_of_log) -> None:
    """
    Where a record comes from can be asked for without an exception.
    """
    stream = configured("json")

    logging.getLogger("worker").info("here", stack_info=True)

    assert "test_logging.py" in json.loads(stream.getvalue())["stack"]


def test_the_console_is_for_people(configured: type_of_log) -> None:
    """
    The level, the message, the fields; quotes only where a value has spaces.
    """
    stream = configured("console")

    logging.getLogger("worker").warning("asked again", extra={"attempt": 2, "why": "no answer"})

    _, _, rest = stream.getvalue().partition(" ")
    assert 'WARNING asked again attempt=2 why="no answer"\n' == rest


def test_people_read_what_happened_first_and_of_whom_last(configured: type_of_log) -> None:
    """
    Ids stand at the end, and long ones are cut: JSON has the whole of them.
    """
    stream = configured("console")

    logging.getLogger("worker").info(
        "withdrawal moved",
        extra={
            "message_id": "req-1",
            "idempotency_key": "wd-60b93432-eb52-5677-a340-5332ba2cb46e",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "status": "pending",
        },
    )

    _, _, rest = stream.getvalue().partition("withdrawal moved")
    assert " status=pending message_id=req-1 idempotency_key=60b93432 trace_id=0af76519\n" == rest


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
    ids=["terminal", "NO_COLOR", "file"],
)
def test_colours_are_for_terminals(
    configured: type_of_log,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    no_color: str,
    coloured: bool,
) -> None:
    """
    A level is seen from afar, unless somebody wants none or a file is written.
    """
    configured("console")
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Screen() if terminal else io.StringIO()
    configure_logging("INFO", "console", stream=stream)

    logging.getLogger("worker").error("provider is out")

    assert coloured is ("\x1b[31mERROR   provider is out\x1b[0m" in stream.getvalue())
    assert coloured is ("\x1b" in stream.getvalue())


def test_no_text_from_outside_steers_the_terminal(configured: type_of_log) -> None:
    """
    An escape sequence is shown, not obeyed.
    """
    stream = configured("console")

    logging.getLogger("worker").info("refused", extra={"why": "\x1b[2J"})

    assert 'why="\\u001b[2J"\n' == stream.getvalue()[-len('why="\\u001b[2J"\n') :]


def test_every_line_carries_the_ids_of_the_work_around_it(configured: type_of_log) -> None:
    """
    A library's too; a record's own field goes before one of the same name.
    """
    configured("json")
    stream = io.StringIO()
    configure_logging(
        "INFO", "json", stream=stream, context=lambda: {"message_id": "a", "trace_id": "t"}
    )

    logging.getLogger("aiormq").warning("lost")
    logging.getLogger("worker").info("published", extra={"message_id": "b"})

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [("a", "t"), ("b", "t")] == [(line["message_id"], line["trace_id"]) for line in lines]


def test_libraries_speak_only_when_something_is_wrong(configured: type_of_log) -> None:
    """
    Otherwise httpx would name every address it calls, SQLAlchemy every statement.
    """
    stream = configured("json")

    for name in ("httpx", "aio_pika.connection", "sqlalchemy.engine", "alembic", "aiohttp.access"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("aiormq.connection").warning("lost")

    assert ["lost"] == [json.loads(line)["message"] for line in stream.getvalue().splitlines()]


def test_warnings_are_logged(configured: type_of_log) -> None:
    """
    A warning of Python is a record too, not a stray line between JSON objects.
    """
    stream = configured("json")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    assert "py.warnings" == json.loads(stream.getvalue())["logger"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"to {URL} now", "to amqp://me:***@broker:5672/ now"),
        ("postgresql://me:a@b/c:d@db/x", "postgresql://me:***@db/x"),
        ("postgresql://db/x?user=me&password=pw&a=b", "postgresql://db/x?user=me&password=***&a=b"),
        ("Authorization: Basic a2V5OnNlY3JldA==", "Authorization: Basic ***"),
        ("http://localhost:8080/path", "http://localhost:8080/path"),
        ("amqp://me@broker/", "amqp://me@broker/"),
    ],
)
def test_redaction_takes_passwords_and_nothing_else(text: str, shown: str) -> None:
    """
    User, host and path stay readable.
    """
    assert shown == redact(text)


def _json_of(configured: type_of_log, **attributes: object) -> dict[str, Any]:
    """What a record with these attributes is written as."""
    stream = configured("json")
    record = logging.makeLogRecord({"name": "worker", "levelno": 20, "levelname": "INFO"})
    vars(record).update(attributes)
    logging.getLogger().handle(record)
    fields: dict[str, Any] = json.loads(stream.getvalue())
    return fields


def test_what_the_library_says_at_every_try_is_left_to_our_own_record(
    configured: type_of_log,
) -> None:
    """
    One line for a broker that is away, not one for each try; what else the library says is heard.
    """
    stream = configured("json")

    library = logging.getLogger("aiormq.connection")
    library.error("error when creating transport: %r", ConnectionRefusedError())
    library.error("Unexpected connection close from remote")

    (line,) = stream.getvalue().splitlines()
    assert "Unexpected connection close from remote" == json.loads(line)["message"]
