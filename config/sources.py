"""Where values come from: the environment, files of a secrets folder, a `.env`.

Text in, text out: what a value means, and whether anybody knows its name, is not asked here."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from config.variables import PREFIX, SECRETS_DIR

#: A mounted secret is a line or a key; anything longer is a wrong mount.
SECRET_BYTES_MAX = 64 * 1024

# Kubernetes describes every service of the namespace to every container: a service called
# `worker` or `worker-…` yields names with our prefix that nobody set.
_SERVICE_HOST_OR_PORT = re.compile(r"WORKER_(?:[A-Z0-9_]+_)?SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)")
_PORT_DETAIL = re.compile(
    r"WORKER_(?:[A-Z0-9_]+_)?PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
)
_PORT = re.compile(r"WORKER_(?:[A-Z0-9_]+_)?PORT")
_PORT_VALUE = re.compile(r"(?:tcp|udp|sctp)://.*")


def gather(environ: Mapping[str, str], dotenv: Path) -> tuple[dict[str, str], list[str]]:
    """
    Every variable with our prefix and its text, and what could not be read.

    The environment wins over secret files, these over the `.env`. An empty text counts as not set.
    """
    problems: list[str] = []
    written = _ours(_read_dotenv(dotenv, problems))
    given = _ours(environ)
    folder = {**written, **given}.get(SECRETS_DIR)
    mounted = _ours(_read_secrets(Path(folder), problems)) if folder else {}
    return _legible({**written, **mounted, **given}, problems), problems


def _legible(values: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """All values but those of the environment whose bytes were no UTF-8."""
    legible = {name: value for name, value in values.items() if _is_utf8(value)}
    problems += [
        f"{name}: the text is not UTF-8, expected one that is"
        for name in values
        if name not in legible
    ]
    return legible


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ours(values: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name: value
        for name, value in values.items()
        if name.startswith(PREFIX) and value and not _is_service_link(name, value)
    }


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_HOST_OR_PORT.fullmatch(name) or _PORT_DETAIL.fullmatch(name):
        return True
    # By its value, or else WORKER_HTTP_PORT=8080, an underscore short, would pass unnoticed.
    return bool(_PORT.fullmatch(name) and _PORT_VALUE.fullmatch(value))


def _read_dotenv(path: Path, problems: list[str]) -> dict[str, str | None]:
    try:
        if not path.is_file():
            return {}
    except OSError:
        # The folder may not be entered, as a container's under a foreign user: none is there.
        return {}
    try:
        # Taken as it is written: a password may well hold a dollar sign.
        return dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: {_why(error)}, expected a readable text file")
        return {}


def _read_secrets(folder: Path, problems: list[str]) -> dict[str, str]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.startswith(PREFIX))
    except OSError as error:
        problems.append(
            f"{SECRETS_DIR}: {_why(error)}, expected a folder with one file for each variable"
        )
        return {}
    return dict(_read_files(paths, problems))


def _read_files(paths: list[Path], problems: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            yield path.name, _read_text(path)
        except (OSError, ValueError) as error:
            problems.append(
                f"{path.name}: {_why(error)}, "
                f"expected a readable text file of at most {SECRET_BYTES_MAX // 1024} KiB"
            )


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError("the file is too long")
    return content.decode().removesuffix("\n").removesuffix("\r")


def _why(error: OSError | ValueError) -> str:
    """What went wrong, in words that quote nothing of the content."""
    match error:
        case OSError():
            return (error.strerror or type(error).__name__).lower()
        case UnicodeDecodeError():
            return "the file is not UTF-8"
        case _:
            return str(error)
