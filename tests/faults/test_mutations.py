"""The mutations fit the code as it stands; that the harness notices them, `make` shows."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.faults.judge import BROKEN
from tests.faults.mutations import MUTATIONS, Mutation, Patch, TextGone, copy_tree, mutate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, which every mutation changes at other places."""
    return copy_tree(tmp_path_factory.mktemp("mutations"))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits(tree: Path, mutation: Mutation) -> None:
    """
    Each text that is to be replaced stands there once, and what comes out is Python.
    """
    mutate(tree, mutation)

    for patch in mutation.patches:
        ast.parse((tree / patch.path).read_text(encoding="utf-8"))
    assert mutation.fate in BROKEN


def test_a_text_that_is_gone_is_an_error(tree: Path) -> None:
    """
    A guard that cannot be found is not taken for one that was checked.
    """
    gone = Mutation(
        "gone", "nothing", MUTATIONS[0].fate, (Patch("worker/app/live.py", "no such text", ""),)
    )

    with pytest.raises(TextGone, match="0 times"):
        mutate(tree, gone)
