"""Builds the image from the Dockerfile, on a base made of Debian's packages, as this machine may.

What the machine needs to reach Debian and the package index is handed over while it is built;
nothing of it is written into the image."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.store import Store

ROOT: Final = Path(__file__).parents[2]
#: What the Dockerfile begins with, and the full name of that.
BASE: Final = "debian:trixie-slim"
_BASE_NAME: Final = f"docker.io/library/{BASE}"
#: What the labels say in the tests.
VERSION: Final = "0.1.0+tests"
REVISION: Final = "0123456789abcdef0123456789abcdef01234567"

#: Of what is copied into the build; .dockerignore holds the rest back.
_FILES: Final = (
    *("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml"),
    *("requirements.lock", "requirements-build.lock"),
)
_FOLDERS: Final = ("config", "worker")
#: What tells pip where packages are and whom to trust; nothing else of a configuration is needed.
_PIP_KEYS: Final = frozenset(
    {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}
)
_TRUST: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class NoBase(Exception):  # noqa: N818 - named by what is missing
    """There is no base image to be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: its name in the store, and the OCI's configuration of how it is run."""

    name: str
    config: dict[str, Any]


def build(store: Store) -> Image:
    """Build what the working tree holds, unless just that was built before; raises NoBase.

    Some minutes from nothing, some ten seconds when only the worker changed.
    """
    with store.locked():
        store.shed()
        if not store.has(_BASE_NAME):
            _import_base(store)
        name = f"localhost/withdrawals-worker:{_fingerprint()}"
        if not store.has(name):
            _build(store, name)
    return Image(name, _config(store, name))


def _import_base(store: Store) -> None:
    done = subprocess.run(
        [str(ROOT / "tests" / "services" / "base_image.sh")],
        check=False,
        capture_output=True,
        text=True,
    )
    if not (tar := done.stdout.strip()):
        raise NoBase(done.stderr.strip())
    container = store.run("from", "scratch")
    store.run("add", "--quiet", container, tar, "/")
    store.run("config", "--cmd", "bash", container)
    store.run("commit", "--quiet", "--rm", "--timestamp", "0", container, _BASE_NAME)


def _build(store: Store, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="withdrawals-") as folder:
        store.run(
            *("build", "--isolation", "chroot", "--pull-never", "--layers", "--tag", name),
            *("--build-arg", f"VERSION={VERSION}", "--build-arg", f"REVISION={REVISION}"),
            *_secrets(Path(folder)),
            ".",
            cwd=ROOT,
            environment=_proxy(),
        )


def _secrets(folder: Path) -> Iterator[str]:
    """Yield the options that hand over how pip reaches its index here, and whom it trusts."""
    lines = ["[global]"]
    found = _pip_configuration()
    trusted = found.get("cert") or next((os.environ[n] for n in _TRUST if os.environ.get(n)), None)
    if trusted is not None and Path(trusted).is_file():
        yield from ("--secret", f"id=ca.pem,src={trusted}")
        lines.append("cert = /run/secrets/ca.pem")
    lines += [f"{key} = {value}" for key, value in found.items() if key in _PIP_KEYS]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    yield from ("--secret", f"id=pip.conf,src={folder / 'pip.conf'}")


def _pip_configuration() -> dict[str, str]:
    """Return pip's own configuration here, by key; the environment's comes last and wins."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    pairs = [line.partition("=") for line in told.splitlines() if "=" in line]
    pairs.sort(key=lambda pair: pair[0].startswith(":env:"))
    return {key.rpartition(".")[2]: str(ast.literal_eval(value)) for key, _, value in pairs}


def _proxy() -> dict[str, str]:
    """Return the proxy of apt, which may be known to it alone."""
    told = subprocess.run(
        ["apt-config", "dump", "--format", "%v", "Acquire::http::Proxy"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return {"http_proxy": told} if told else {}


def _config(store: Store, name: str) -> dict[str, Any]:
    told = json.loads(store.run("inspect", "--type", "image", name))
    config: dict[str, Any] = told["OCIv1"]["config"]
    return config


def _fingerprint() -> str:
    """Return what changes whenever the image would."""
    digest = hashlib.sha256()
    paths = [ROOT / name for name in _FILES]
    for folder in _FOLDERS:
        paths += sorted(
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
