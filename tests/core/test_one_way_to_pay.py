"""There is one way to the call that moves money, shown on the source of every room.

What a permit needs is shown in `test_permit`; here, that nobody goes round it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path(worker.__file__).parent
#: The stand-ins for providers move no real money, and have calls of the same name.
_STAND_INS: Final = "simulator"


def _calls(name: str) -> set[str]:
    """Where something of this name is called, as `room/module.py function`."""
    return {where for where, called in _all_calls() if called == name}


@cache
def _all_calls() -> tuple[tuple[str, str | None], ...]:
    return tuple(
        (f"{path.relative_to(_ROOT)} {where}", _called(node.func))
        for path in sorted(_ROOT.rglob("*.py"))
        if path.relative_to(_ROOT).parts[0] != _STAND_INS
        for where, node in _inside(ast.parse(path.read_text(encoding="utf-8")), "")
        if isinstance(node, ast.Call)
    )


def _inside(tree: ast.AST, where: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the classes and functions that it is in."""
    for node in ast.iter_child_nodes(tree):
        inner = where
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{where}.{node.name}".lstrip(".")
        yield inner, node
        yield from _inside(node, inner)


def _called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def test_a_provider_is_told_to_create_in_one_place() -> None:
    """
    By the submission, which asks for the permit; whoever watches the provider hands it through.
    """
    assert {"flows/submit.py Submission._try", "providers/watched.py Watched.create"} == _calls(
        "create"
    )


def test_a_permit_is_made_in_one_place() -> None:
    """
    By the function that knows the horizon.
    """
    assert {"core/permit.py permit"} == _calls("Permit")


def test_a_permit_is_asked_for_in_one_place() -> None:
    """
    Right before the call, by who makes it.
    """
    assert {"flows/submit.py Submission._try"} == _calls("permit")


def test_orders_are_placed_in_one_place_as_well() -> None:
    """
    By who committed the intent; the permit is made by one function, and asked for right before.
    """
    assert {"flows/sell.py Selling._call", "providers/watched.py Watched.sell"} == _calls("sell")
    assert {"core/sale_permit.py sale_permit"} == _calls("SalePermit")
    assert {"flows/sell.py Selling._call"} == _calls("sale_permit")


def test_who_makes_permits_is_known_by_nobody_else() -> None:
    """
    The mark by which a permit is told from one made by hand stays in its module.
    """
    mentions = {
        (mark, str(path.relative_to(_ROOT)))
        for path in _ROOT.rglob("*.py")
        for mark in ("_PERMITS", "_SALE_MARK")
        if mark in path.read_text(encoding="utf-8")
    }

    assert {("_PERMITS", "core/permit.py"), ("_SALE_MARK", "core/sale_permit.py")} == mentions


def test_the_walk_finds_what_is_there() -> None:
    """
    A walk that is blind would find one place as well: it also sees what is called in many.
    """
    assert len(_calls("record")) > 2
    assert "flows/follow.py Follow._create" in _calls("intend")
