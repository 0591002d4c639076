"""What of the chart is written from other files is as these have it; `make chart` writes it."""

from __future__ import annotations

import pytest

from tests.helm.generated import generated
from tests.helm.readme import readme


def test_nothing_has_changed_since_it_was_written() -> None:
    """
    Settings, versions, README, rules and dashboard of the chart are those of the sources.
    """
    files = generated()

    assert files == {path: path.read_text() for path in files}, "run `make chart`"


def test_a_value_without_a_comment_is_named() -> None:
    """
    No key of the values stays unexplained.
    """
    values = "# -- How many.\nreplicas: 2\nimage:\n  # -- Which one.\n  tag: ''\n  digest: ''\n"

    with pytest.raises(ValueError, match=r"no comment about image\.digest$"):
        readme("", values)


def test_each_comment_is_a_row_below_its_heading() -> None:
    """
    A row tells path, default and meaning; a comment on a group is about all below it.
    """
    values = (
        "## Size\n# -- How many\n# workers.\nreplicas: 2\n\n"
        "image:\n  # -- Which | one.\n  tag: {a: 1}\n"
    )

    assert (
        "# Chart\n\n## Values\n\n### Size\n\n| Key | Default | Meaning |\n|---|---|---|\n"
        "| `replicas` | `2` | How many workers. |\n"
        '| `image.tag` | `{"a": 1}` | Which \\| one. |\n'
    ) == readme("# Chart\n", values)
