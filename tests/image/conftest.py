"""The image and what runs it; who asks first has it built, and others find it then."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.image.building import Image, NoBase, build
from tests.image.container import Runtime
from tests.image.store import Store, cache_folder, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Built:
    """The image, its root file system as a folder, and what runs it."""

    image: Image
    root: Path
    runtime: Runtime


@pytest.fixture(scope="session")
def built() -> Iterator[Built]:
    """The image of the working tree."""
    if (why := why_not()) is not None:
        _cannot_run(why)
    store = Store(cache_folder())
    try:
        image = build(store)
    except NoBase as missing:
        _cannot_run(str(missing))
    with store.mounted(image.name) as root:
        yield Built(image, root, Runtime(root, image.config))


def _cannot_run(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
