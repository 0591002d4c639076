"""Buildah on a storage of its own, below the tests' cache: what was built is there the next time.

No other image of the machine is seen or touched, and no registry is asked for anything."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROGRAM: Final = "buildah"
#: More than this many images, steps of builds among them, and all is begun anew: about a gigabyte.
_IMAGES_MAX: Final = 600


class Store:
    """Images and containers in this folder; it is made where it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Layers where the system can put one over the other; else each is a copy of the whole.
        self._options = self._with("overlay")
        if self._try("info").returncode != 0:
            self._options = self._with("vfs")

    def run(
        self, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run buildah; return what it printed. Raises AssertionError with its words when it fails.

        `environment` is added to that of this process.
        """
        done = self._try(*arguments, cwd=cwd, environment=environment)
        assert 0 == done.returncode, f"{_PROGRAM} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        """Whether an image of this name is here."""
        return self._try("inspect", "--type", "image", image).returncode == 0

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """Show the root file system of an image as a folder, for as long as the context lasts."""
        container = self.run("from", "--pull-never", image)
        try:
            yield Path(self.run("mount", container))
        finally:
            self.run("rm", container)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from building at the same time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def shed(self) -> None:
        """Forget all images where years of builds have gathered too many."""
        if len(self.run("images", "--all", "--quiet").split()) > _IMAGES_MAX:
            self.run("rmi", "--all", "--force")

    def _with(self, driver: str) -> tuple[str, ...]:
        folder = self._folder / driver
        return (
            *("--root", str(folder / "root"), "--runroot", str(folder / "run")),
            *("--storage-driver", driver),
        )

    def _try(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_PROGRAM, *self._options, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
        )


def why_not() -> str | None:
    """Return the sentence that says why nothing can be built here, None where it can."""
    if shutil.which(_PROGRAM) is None:
        return "buildah is missing: tests/services/install.sh installs it"
    if os.geteuid() != 0:
        return "the image is built and run with root's rights only: run these tests as root"
    return None


def cache_folder() -> Path:
    """Where the storage lies, unless WITHDRAWALS_TEST_IMAGES says otherwise."""
    if named := os.environ.get("WITHDRAWALS_TEST_IMAGES"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "withdrawals-worker" / "images"
