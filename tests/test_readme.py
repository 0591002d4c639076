"""What the README says of tests is so: each that it names is there."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Final

from worker.providers.bluum import STATUSES as BLUUM
from worker.providers.upvest import STATUSES as UPVEST

_ROOT: Final = Path(__file__).parents[1]
_README: Final = (_ROOT / "README.md").read_text("utf-8")
#: What the README calls some files.
_NAMES: Final = {
    "suite": "test_suite.py",
    "limits": "test_suite_limits.py",
    "sales": "test_suite_orders.py",
}
_TOLD: Final = re.compile(r"(?:`(test_\w+\.py)`|\b(suite|limits|sales)) ((?:`test_\w+`(?:, )?)+)")


def test_each_test_that_the_readme_names_is_there() -> None:
    """
    In the file that it names.
    """
    told = [
        (file or _NAMES[name], test)
        for file, name, tests in _TOLD.findall(_README)
        for test in re.findall(r"test_\w+", tests)
    ]
    there = {
        (path.name, test)
        for path in (_ROOT / "tests").rglob("test_*.py")
        for test in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }

    assert len(told) > 25
    assert [] == [each for each in told if each not in there]
    # None is named in a way that is not looked at here.
    assert len(told) == len(re.findall(r"`test_\w+`", _README))


def test_each_status_word_of_a_provider_stands_in_the_readme() -> None:
    """
    So that nobody has to read the code to know what becomes of it.
    """
    assert [] == [word for word in chain(BLUUM, UPVEST) if f"`{word}`" not in _README]
