"""One line for each thing that is wrong with the settings: what was found, what was expected.

No line holds the value of a secret."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from config.redaction import redact
from config.variables import SECRETS_DIR, expected_of, is_secret, variable_of

# Enough of a value to recognise it by.
_SHOWN_MAX = 60


def unfit_values(
    error: ValidationError, fields: Mapping[str, FieldInfo], values: Mapping[str, str]
) -> Iterator[str]:
    """A line for every value that its field does not take."""
    for detail in error.errors(include_url=False):
        name = variable_of(detail["loc"])
        field = fields[name]
        found = _reason(detail) if is_secret(field) else f"found {_shown(values[name])}"
        yield f"{name}: {found}, expected {expected_of(field)}"


def unknown_names(names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A line for every name that no field goes by."""
    candidates = [*known, SECRETS_DIR]
    for name in names:
        if name not in candidates:
            guesses = get_close_matches(name.upper(), candidates, n=1)
            hint = (
                f"did you mean {guesses[0]}?" if guesses else "expected one of config/example.env"
            )
            yield f"{name}: unknown variable, {hint}"


def incomplete_credentials(
    credentials: Iterable[tuple[str, ...]], names: Iterable[str]
) -> Iterator[str]:
    """A line for every credential that is missing beside one that is there."""
    given = set(names)
    for variables in credentials:
        present = [name for name in variables if name in given]
        for name in variables if present else ():
            if name not in given:
                yield f"{name}: missing, expected together with {present[0]}"


def _reason(detail: ErrorDetails) -> str:
    """Why our own check turned the value down; its words quote nothing of the value."""
    return str(detail.get("ctx", {}).get("error", "the value does not fit"))


def _shown(value: str) -> str:
    text = repr(redact(value))
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
