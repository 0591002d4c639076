"""The figures of several runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.faults.figures import figures, table
from tests.faults.judge import Fate, Verdict
from tests.faults.plan import Fault, draw
from tests.faults.run import Report

GOOD = Report(
    plan=draw(1),
    verdict=Verdict({"a": Fate.OK, "b": Fate.RECOVERED}),
    deeds=Counter({str(Fault.KILL): 2}),
    provider_faults=Counter({"drop_after": 3}),
    messages=4,
)
BAD = Report(
    plan=draw(2),
    verdict=Verdict({"c": Fate.OUT_OF_ORDER}, ("out of order: c",)),
    deeds=Counter({str(Fault.KILL): 1}),
    messages=1,
)


def test_figures_add_up() -> None:
    """
    Faults are counted by kind, with the runs they occurred in; requests by what became of them.
    """
    told = figures([GOOD, BAD])

    after = "provider: connection cut after the effect"
    assert told == {**told["providers"]["bluum"], "providers": told["providers"]}
    assert {str(Fault.KILL): 3, after: 3} == told["faults"]
    assert {str(Fault.KILL): 2, after: 1} == told["runs_with"]
    assert (2, 5, 3) == (told["runs"], told["messages"], told["requests"])
    assert (1, 1, 1, 0) == (told["ok"], told["recovered"], told["out_of_order"], told["lost"])
    assert [2] == told["broken_seeds"]


def test_the_table_tells_them() -> None:
    """
    A row for each kind of fault, and one for each fate, zero included; a column for each provider.
    """
    other = replace(GOOD, plan=draw(1, provider="upvest"), deeds=Counter({str(Fault.TOKENS): 1}))
    lines = table(figures([GOOD, BAD, other])["providers"]).splitlines()

    assert "|  | bluum | upvest |" in lines
    assert f"| {Fault.KILL} | 3 / 2 | 0 |" in lines
    assert f"| {Fault.TOKENS} | 0 | 1 / 1 |" in lines
    assert "| duplicated | 0 | 0 |" in lines
    assert "| out of order | 1 | 0 |" in lines
