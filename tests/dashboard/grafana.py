"""What Grafana does with a dashboard's file, as far as queries go: variables in, PromQL out.

Nothing is asked here; who asks stands in `tests.services.prometheus_node`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

#: The dashboard as Grafana loads it.
PATH: Final = Path(__file__).parents[2] / "config" / "grafana" / "dashboard.json"
#: Under this name a picture of it carries its fingerprint (a text chunk of the PNG).
FINGERPRINT: Final = "Dashboard"

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")
_IN_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")
#: Prometheus' own escapes, doubled since they stand in a PromQL string.
_SPECIAL: Final = re.compile(r"[\\^$*+?.()|\[\]{}]")
#: Grafana takes a rate over so many scrapes at the least.
_SCRAPES: Final = 4


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; `instant` asks for one moment, else it is drawn over time."""

    expression: str
    legend: str
    instant: bool
    format: str

    def name_of(self, labels: Mapping[str, str]) -> str:
        """Return how the legend calls a series with these labels."""
        return _IN_LEGEND.sub(lambda found: labels.get(found[1], ""), self.legend).strip()


@dataclass(frozen=True, slots=True)
class View:
    """What somebody has chosen to see: values of the variables, the time shown, a point's width.

    A variable that is not among `chosen` stands at All.
    """

    chosen: Mapping[str, Sequence[str]]
    shown: timedelta
    interval: timedelta
    scraped: timedelta


class Dashboard:
    """The file, read."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    @classmethod
    def load(cls) -> Dashboard:
        """Read it from its place."""
        return cls(json.loads(PATH.read_text("utf-8")))

    @property
    def panels(self) -> list[Mapping[str, Any]]:
        """All panels in the file's order, rows among them, and those inside of closed rows."""
        return list(_flat(self.document["panels"]))

    @property
    def graphs(self) -> list[Mapping[str, Any]]:
        """The panels that show something: all but the rows."""
        return [panel for panel in self.panels if panel["type"] != "row"]

    @property
    def variables(self) -> dict[str, Mapping[str, Any]]:
        """The variables by name."""
        return {each["name"]: each for each in self.document["templating"]["list"]}

    @property
    def annotations(self) -> list[Mapping[str, Any]]:
        """What is marked in all graphs, but for Grafana's own."""
        return [each for each in self.document["annotations"]["list"] if "builtIn" not in each]

    @property
    def fingerprint(self) -> str:
        """What tells whether a picture shows these panels: of titles, places and queries."""
        told = [
            [
                panel["title"],
                panel["gridPos"],
                panel["type"],
                [q.expression for q in queries(panel)],
            ]
            for panel in self.panels
        ]
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def interpolate(self, text: str, view: View) -> str:
        """Put a view's values in the place of variables; KeyError for one that is not known."""
        seconds = {
            "__interval": view.interval.total_seconds(),
            "__range": view.shown.total_seconds(),
            "__rate_interval": max(
                view.interval.total_seconds() + view.scraped.total_seconds(),
                _SCRAPES * view.scraped.total_seconds(),
            ),
        }
        known = {name: f"{max(1, round(value))}s" for name, value in seconds.items()}
        known |= {name: self._pattern(variable, view) for name, variable in self.variables.items()}
        return _VARIABLE.sub(lambda found: known[found[1] or found[2]], text)

    def values_query(self, name: str, view: View) -> tuple[str, str]:
        """Return the label whose values a variable offers, and the selector of their series."""
        asked = _LABEL_VALUES.fullmatch(self.variables[name]["query"]["query"])
        assert asked is not None, name
        return asked[2], self.interpolate(asked[1], view)

    def _pattern(self, variable: Mapping[str, Any], view: View) -> str:
        chosen = view.chosen.get(variable["name"])
        if chosen is None:
            return str(variable.get("allValue", ""))
        escaped = [_SPECIAL.sub(r"\\\\\g<0>", value) for value in chosen]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def queries(panel: Mapping[str, Any]) -> list[Query]:
    """Return the queries of a panel, none for a row."""
    return [
        Query(
            target["expr"],
            target["legendFormat"],
            target["instant"],
            target.get("format", "time_series"),
        )
        for target in panel.get("targets", [])
    ]


def _flat(panels: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for panel in panels:
        yield panel
        yield from _flat(panel.get("panels", []))
