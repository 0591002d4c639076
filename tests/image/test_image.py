"""What the image is and what is in it, and how it refuses what cannot work."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.image.building import BASE, REVISION, ROOT, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.conftest import Built

_USER: Final = 10001
_LEDGER: Final = "var/lib/withdrawals"
_PACKAGES: Final = "opt/venv/lib/python3.13/site-packages"
#: What installs or compiles: programs, and packages of Python.
_UNWANTED: Final = re.compile(
    r".*bin/(.*-)?(cc|gcc|g\+\+|cpp|clang|ld|as|strip|make|cargo|rustc|pip|easy_install)(-?[\d.]+)?"
    r"|.*/(ensurepip|(wheel|pip|setuptools|hatchling|build)(-[^/]*\.(dist|egg)-info)?)"
)
#: What a build may leave behind. Folders themselves are Debian's.
_LEFT_BEHIND: Final = (
    *("var/lib/apt/lists", "var/cache/apt", "var/log", "tmp", "var/tmp", "root/.cache"),
    *("run/secrets", "build", "wheels", "opt/build", "opt/program"),
)
_CREDENTIALS: Final = {"WORKER_BLUUM__API_KEY": "key", "WORKER_BLUUM__API_SECRET": "secret"}


def test_it_says_how_it_is_run(built: Built) -> None:
    """
    As a numbered user, without a shell between; no health check, and no volume that forgets.
    """
    config = built.image.config

    assert f"{_USER}:{_USER}" == config["User"]
    assert ["withdrawals-worker"] == config["Entrypoint"]
    assert ["run"] == config["Cmd"]
    assert "SIGTERM" == config["StopSignal"]
    assert {"8080/tcp", "8081/tcp"} == set(config["ExposedPorts"])
    assert f"/{_LEDGER}" == config["WorkingDir"]
    assert {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"} == {
        variable.partition("=")[0] for variable in config["Env"]
    }
    assert set() == {"Healthcheck", "Volumes", "Shell", "OnBuild"} & config.keys()


def test_its_labels_tell_what_it_is(built: Built) -> None:
    """
    By the names that the OCI gives them, from the arguments of the build.
    """
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in built.image.config["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }

    assert "withdrawals-worker" == labels.pop("title")
    assert labels.pop("description")
    assert {
        "version": VERSION,
        "revision": REVISION,
        "source": "",
        "licenses": "Apache-2.0",
        "base.name": BASE,
    } == labels


def test_it_can_neither_install_nor_become_another(built: Built) -> None:
    """
    No pip, no compiler, no program with another's rights, and nothing that its user may change.
    """
    files = list(_files(built.root))
    modes = {path: path.lstat() for path in files}
    plain = {path: at for path, at in modes.items() if stat.S_ISREG(at.st_mode)}
    told = {path: path.relative_to(built.root) for path in files}

    assert len(files) > 5000
    assert [] == [each for each in told.values() if _UNWANTED.fullmatch(str(each))]
    assert [] == [told[p] for p, at in plain.items() if at.st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert [] == [told[p] for p, at in plain.items() if at.st_mode & stat.S_IWOTH]
    assert [_LEDGER] == [str(told[path]) for path, at in modes.items() if at.st_uid == _USER]
    assert (_USER, 0, 0o770) == _owned(built.root / _LEDGER)


def test_a_build_leaves_nothing_behind(built: Built) -> None:
    """
    No lists, logs and caches, no configuration of pip, no certificate of the machine that built it.
    """
    left = [
        path.relative_to(built.root)
        for folder in _LEFT_BEHIND
        for path in _files(built.root / folder)
        if path.is_file()
    ]

    assert [] == left
    assert not (built.root / "etc" / "pip.conf").exists()
    assert not (built.root / _PACKAGES / "config" / "grafana").exists()
    assert not (built.root / _PACKAGES / "tests").exists()


def test_it_holds_what_is_locked_and_nothing_else(built: Built) -> None:
    """
    Each package in its version, and bytecode for each source, since none can be written later.
    """
    packages = built.root / _PACKAGES
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    # Those for other systems and interpreters are locked as well.
    locked = set(
        re.findall(
            r"^(\S+)==(\S+)(?: ;.*platform_python.*| ;.*implementation.*)? \\", lock, re.MULTILINE
        )
    )
    told = (path.name.removesuffix(".dist-info") for path in packages.glob("*.dist-info"))
    there = {(name.replace("_", "-").lower(), v) for name, _, v in (t.partition("-") for t in told)}
    sources = [path for path in packages.rglob("*.py") if "{{" not in path.name]

    assert len(locked) > 40
    assert locked == there - {("withdrawals-worker", _version())}
    assert ("withdrawals-worker", _version()) in there
    assert [] == [path for path in sources if not _bytecode(path).exists()]


async def test_bad_settings_end_with_2(built: Built) -> None:
    """
    With one line, which names the variable.
    """
    code, said = await built.runtime.run(
        [*built.image.config["Entrypoint"], "check"],
        environment=_CREDENTIALS | {"WORKER_RABBITMQ__PREFETCH": "many"},
    )

    assert 2 == code
    assert ["WORKER_RABBITMQ__PREFETCH"] == [line.partition(":")[0] for line in said.splitlines()]


async def test_a_ledger_begins_in_a_volume_only(built: Built, tmp_path: Path) -> None:
    """
    The file of the default setting lies in the working directory; without a volume none is begun.
    """
    volume = tmp_path / "volume"
    volume.mkdir()
    migrate = [*built.image.config["Entrypoint"], "migrate"]

    without, said = await built.runtime.run(migrate)
    within, _ = await built.runtime.run(migrate, volume=volume)

    assert 1 == without
    assert f"/{_LEDGER}" in said
    assert "Traceback" not in said
    assert 0 == within
    assert _USER == (volume / "withdrawals.db").stat().st_uid


def _files(root: Path) -> Iterator[Path]:
    """Everything below a folder, folders and links among it."""
    for folder, folders, names in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *names))


def _owned(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def _bytecode(source: Path) -> Path:
    return source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"


def _version() -> str:
    found = re.search(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    assert found
    return found[1]
