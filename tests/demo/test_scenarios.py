"""What the demo asks for is what it says it asks for."""

from __future__ import annotations

import pytest

from worker.app.parts import SHAPES
from worker.core.cancellations import Cancel, read_cancel
from worker.core.messages import Envelope, Misread, Understood, read
from worker.demo.companies import COMPANIES
from worker.demo.evidence import content_of
from worker.demo.scenario import Message, Scenario, interleaved
from worker.demo.scenarios import SCENARIOS
from worker.providers.bluum_requests import BluumRequest

METHODS = {"ach", "wire", "international_wire", "manual_bank_transfer"}


def understood(message: Message) -> Understood | Cancel | Misread:
    """What the worker makes of a message."""
    envelope = Envelope(
        body=message.body,
        message_id=message.name if message.is_property else None,
        content_type=message.content_type,
        headers=message.headers,
    )
    if message.cancels is not None:
        return read_cancel(envelope, providers=SHAPES.keys(), default_provider="bluum")
    return read(envelope, shapes=SHAPES, default_provider="bluum")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_the_worker_reads_each_message_as_it_is_meant(scenario: Scenario) -> None:
    """
    Misread for the very reason that is expected, or understood under the id that is expected.
    """
    for message in scenario.published:
        match understood(message):
            case Cancel(request_message_id=request):
                assert message.cancels == request
            case Understood(message_id=message_id):
                assert message.name == message_id
            case Misread(reason=reason):
                assert reason in scenario.dead_letters


def test_all_methods_are_asked_for_by_several_investors() -> None:
    """
    The good requests go over every method, and not all to one investor.
    """
    good = [
        message.request
        for scenario in SCENARIOS
        for message in map(understood, scenario.messages)
        if isinstance(message, Understood) and isinstance(message.request, BluumRequest)
    ]

    assert METHODS == {request.method for request in good}
    assert len({request.investor_id for request in good}) > 5
    assert len(good) > 40


def test_every_provider_is_asked_to_pay() -> None:
    """
    And each is one of those that are simulated.
    """
    asked = {
        message.request.provider
        for scenario in SCENARIOS
        for message in map(understood, scenario.messages)
        if isinstance(message, Understood) and scenario.withdrawals
    }

    assert set(SHAPES) == {company.name for company in COMPANIES} == asked


def test_no_two_scenarios_share_a_message() -> None:
    """
    What is seen of a message belongs to one row of the table.
    """
    messages = [
        {(message.name, content_of(message.body)) for message in scenario.published}
        for scenario in SCENARIOS
    ]

    assert sum(map(len, messages)) == len(set().union(*messages))
    assert all(len(scenario.messages) == 1 for scenario in SCENARIOS if scenario.turns)


def test_what_a_webhook_tells_nothing_else_can_tell() -> None:
    """
    The investor has no other withdrawal: with one of them all of an investor are looked at.
    """
    investors = [
        (message.request.party_id, scenario)
        for scenario in SCENARIOS
        for message in map(understood, scenario.messages)
        if isinstance(message, Understood)
    ]
    hastened = [(party, scenario) for party, scenario in investors if scenario.unlooked_for]

    assert 2 == len(hastened)
    assert all(
        [scenario] == [s for p, s in investors if p == party] for party, scenario in hastened
    )


def test_messages_are_dealt_out_in_turn() -> None:
    """
    One of each scenario, then the second of each, until none is left.
    """
    a, b, c = (Message(name=name, body=b"") for name in "abc")

    assert [a, c, b] == interleaved(
        [Scenario(title="1", messages=(a, b)), Scenario(title="2", messages=(c,))]
    )
