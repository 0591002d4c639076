"""The chart as Helm renders it, each set of values once in a process.

Nothing here knows what the manifests say."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

CHART: Final = Path(__file__).parents[2] / "helm"
VALUES: Final = Path(__file__).parent / "values"
#: Every set of values that the tests render, by its file's name.
SETS: Final = tuple(sorted(path.stem for path in VALUES.glob("*.yaml")))
RELEASE: Final = "payouts"
NAMESPACE: Final = "money"
OLDEST: Final = "1.29"
NEWEST: Final = "1.37"

_INSTALL: Final = Path(__file__).parents[1] / "services" / "helm.sh"


def install_helm() -> subprocess.CompletedProcess[str]:
    """What came of installing Helm: its path in the output, or why there is none in the errors.

    Takes minutes the first time; several processes may ask at once.
    """
    return subprocess.run([_INSTALL], check=False, capture_output=True, text=True)


class Chart:
    """The chart, and the Helm that works on it."""

    def __init__(self, helm: Path) -> None:
        self.helm = helm
        #: Where the schemas of the custom resources are.
        self.crds = helm.parents[1] / "crds"
        self.rendered = cache(self._rendered)

    def _rendered(self, name: str) -> str:
        """All manifests of a set of values, as Helm writes them."""
        done = self.run("template", RELEASE, str(CHART), "--values", str(VALUES / f"{name}.yaml"))
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def render(self, values: Mapping[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        """What Helm makes of these values, or says of them."""
        return self.run(
            "template", RELEASE, str(CHART), "--values", "-", *options, given=yaml.safe_dump(values)
        )

    def run(
        self, command: str, *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of Helm's that asks no cluster; later options win over ours."""
        version = () if command == "package" else ("--kube-version", OLDEST)
        return subprocess.run(
            [self.helm, command, "--namespace", NAMESPACE, *version, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=given,
            timeout=120,
        )
