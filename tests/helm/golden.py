"""What each set of values is to look like: `python -m tests.helm.golden` (`make chart-golden`).

Of all sets but the default only what differs from it is kept; nothing of the alerts and the
dashboard, which are files of their own; and no checksum of settings, which stand beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.helm.chart import SETS, Chart, install_helm
from tests.helm.manifests import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN: Final = Path(__file__).parent / "golden"
DEFAULT: Final = "default"

# What stands in files/ already, by the last line that is kept.
_CARRIED: Final = re.compile(
    r"(^kind: PrometheusRule\n(?:.*\n)*? *groups:|^ *withdrawals-worker\.json: \|-)\n(?:.*\n)*",
    re.MULTILINE,
)
_CHECKSUM: Final = re.compile(r"(checksum/config: )[0-9a-f]{64}")
_NAMED: Final = re.compile(r"^kind: (.+)\n(?:.*\n)*?^  name: (.+)\n", re.MULTILINE)


def golden(name: str, chart: Chart) -> str:
    """The text of the golden file of a set of values."""
    found = _told(chart, name)
    if name == DEFAULT:
        return f"# Rendered from values/{name}.yaml.\n" + "".join(found)
    default = _told(chart, DEFAULT)
    missing = sorted({*map(_name, default)} - {*map(_name, found)})
    return "".join(
        (
            f"# Rendered from values/{name}.yaml; what is not here is as in {DEFAULT}.yaml.\n",
            *(f"# Without: {manifest}\n" for manifest in missing),
            *(block for block in found if block not in default),
        )
    )


def _told(chart: Chart, name: str) -> list[str]:
    return ["---\n" + _shortened(block) for block in blocks(chart.rendered(name))]


def _shortened(block: str) -> str:
    carried = _CARRIED.sub(r"\1 # as in files/\n", block.rstrip() + "\n")
    return _CHECKSUM.sub(r"\1of the settings", carried)


def _name(block: str) -> str:
    found = _NAMED.search(block)
    assert found, block
    return "/".join(found.groups())


def write() -> Iterator[str]:
    """Write the golden files; tells which changed. Raises SystemExit where Helm cannot be had."""
    installed = install_helm()
    if not installed.stdout:
        raise SystemExit(installed.stderr)
    chart = Chart(Path(installed.stdout.strip()))
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.yaml"):
        if path.stem not in SETS:
            path.unlink()
            yield f"{path.name}: gone"
    for name in SETS:
        path = GOLDEN / f"{name}.yaml"
        text = golden(name, chart)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            yield f"{path.name}: written"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in write())
