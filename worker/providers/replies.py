"""How a reply becomes an answer of ours, whoever the provider is: classified by its table.

What a provider's errors look like, and which answer means what, each provider tells in its own
modules; nothing here knows one."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from worker.core.answers import NO_TRACE, Denied, Refused, Throttled, Trace, Unclear
from worker.core.withdrawal import Reason
from worker.providers.answer_table import NO_STATUS, Acts, Body, Meaning, Operation, Row
from worker.providers.http import Outcome, Postponed, Reply, Silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.providers.answer_table import AnswerTable

_log = logging.getLogger(__name__)

#: What is kept of a provider's own words.
TEXT_LIMIT: Final = 2000

#: The forms of ids, words and decimal numbers; what is in no such form is not read.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
WORD: Final = re.compile(r"[A-Za-z0-9 _.-]{1,64}")
CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_SUCCESS_CLASS: Final = 2


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider talks of errors, and its table of answers.

    `error_body` tells what came with a status that is no success, `trace` what support asks for
    when the call of a reply is to be found again.
    """

    answers: AnswerTable
    error_body: Callable[[Reply], Body]
    trace: Callable[[Reply], Trace]

    def classified(
        self, operation: Operation, outcome: Outcome, *, usable: bool, strange: bool = False
    ) -> Row:
        """Find the row of the table that holds; `usable` tells whether a success's body is."""
        status, code = NO_STATUS, None
        match outcome:
            case Silence():
                body = Body.SILENCE
            case Postponed():
                body = Body.UNSENT
            case Reply(status=status) if is_success(outcome):
                body = (Body.STRANGE if strange else Body.USABLE) if usable else Body.OTHER
            case Reply(status=status):
                body, code = self.error_body(outcome), self.trace(outcome).provider_code
            case _:  # pragma: no cover
                assert_never(outcome)
        row = self.answers.row(operation, status, body, code)
        # Of refused credentials who watches over them tells, once.
        if row.acts is Acts.OPERATOR and row.meaning is not Meaning.DENIED:
            _log.error(
                "operator needed",
                extra={
                    "provider": self.answers.provider,
                    "operation": operation.value,
                    "http_status": status,
                    "provider_code": code,
                },
            )
        return row

    def no_success(self, row: Row, outcome: Outcome) -> Refused | Unclear | Throttled | Denied:
        """Put a row into words of ours; what is none of the clear ones is unclear."""
        trace = self.trace_of(outcome)
        retry_after = outcome.retry_after if isinstance(outcome, Reply) else None
        match row.meaning:
            case Meaning.REFUSED if row.reason is not None:
                return Refused(Reason(row.reason, trace.provider_code), trace)
            case Meaning.THROTTLED:
                wait = outcome.wait if isinstance(outcome, Postponed) else retry_after
                return Throttled(wait, trace)
            case Meaning.DENIED:
                return Denied(trace)
            case _:
                heard = outcome.why if isinstance(outcome, Silence) else f"http_{trace.http_status}"
                return Unclear(row.why or heard, retry_after, trace)

    def trace_of(self, outcome: Outcome) -> Trace:
        """Return what support asks for when a call is to be found again."""
        return self.trace(outcome) if isinstance(outcome, Reply) else NO_TRACE


def is_success(reply: Reply) -> bool:
    """Tell whether a status says that all went well."""
    return reply.status // 100 == _SUCCESS_CLASS


def told(text: object) -> str | None:
    """Cut what a provider wrote to what every ledger can store: no NUL, no lone surrogate."""
    if not isinstance(text, str):
        return None
    return text[:TEXT_LIMIT].replace("\x00", "").encode(errors="replace").decode()


def text_of(value: object, form: re.Pattern[str] | None = None) -> str | None:
    """Return a text that is in its documented form, else None."""
    if not isinstance(value, str) or (form is not None and not form.fullmatch(value)):
        return None
    return value
