"""Takes passwords out of text that is about to be shown.

A net under the rule that no secret is ever formatted, not a replacement for it."""

import re

_SECRETS = (
    # scheme://user:password@, where the password may itself hold an unescaped '@' or '/'.
    re.compile(r"(?P<kept>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*:)\S+(?=@)"),
    # ?password=…, which database URLs take as well.
    re.compile(r"(?P<kept>[?&](?:password|secret|token)=)[^\s&]+", re.IGNORECASE),
    # An Authorization header.
    re.compile(r"(?P<kept>\b(?:Basic|Bearer) )[A-Za-z0-9+/=._~-]{8,}"),
)
# One of these stands in whatever any of them finds; most texts of a log are ids.
_MARKS = ("://", "=", "asic ", "earer ")


def redact(text: str) -> str:
    """The text with every password of a URL and every credential of a header as `***`."""
    if not any(mark in text for mark in _MARKS):
        return text
    for secret in _SECRETS:
        text = secret.sub(r"\g<kept>***", text)
    return text
