"""Every setting as a file to copy: `python -m config.example` prints config/example.env.

Derived from the settings; a test holds the file to it."""

import sys
import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config.settings import Settings
from config.variables import SECRETS_DIR, expected_of, variables, write_value

_WIDTH = 100
_HEAD = (
    "Settings of withdrawals-worker. Copy this file to `.env`, or set the variables in the "
    "environment, which wins. Every line shows the default; an empty value counts as not set. "
    f"Secrets may also lie in files named after their variables, in the folder that {SECRETS_DIR} "
    "names: they win over `.env`, and the environment over them. Durations are seconds (0.3, 15) "
    "or ISO 8601 (PT15M)."
)


def example_env() -> str:
    """The text of config/example.env."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from _comment(_HEAD)
    yield ""
    yield from _comment("Folder of secret files; none by default.")
    yield f"# {SECRETS_DIR}="
    for name, field in variables(Settings):
        yield ""
        yield from _comment(f"{field.description}")
        yield from _comment(f"Expected: {expected_of(field)}.")
        yield f"# {name}={_default(field)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _default(field: FieldInfo) -> str:
    """Empty where there is none, or where it depends on the surroundings."""
    return "" if field.default in {None, PydanticUndefined} else write_value(field.default)


if __name__ == "__main__":
    sys.stdout.write(example_env())
