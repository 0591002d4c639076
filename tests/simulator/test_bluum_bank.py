"""The bank alone: money, keys and time as values, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest

from worker.simulator.bluum_bank import BluumBank, Created, Replayed
from worker.simulator.bluum_ground import Ground
from worker.simulator.bluum_journal import Kind
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import CURRENCIES, SLOWNESS, ReplayAnswer, Terms
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status, Withdrawal

NOW: Final = datetime(2026, 6, 1, 10, tzinfo=UTC)
TERMS: Final = Terms(opening_balance=Decimal("1000.00"))
INSTRUCTION: Final = Instruction(
    amount=Decimal("250.75"),
    currency="USD",
    method=Method.ACH,
    funding_source_id="fs_01",
    description=None,
)
#: Longer than both steps with all their jitter.
ALL_STEPS: Final = TERMS.pace * 3


def created(
    bank: BluumBank,
    investor_id: str = "inv_01",
    *,
    amount: str = "250.75",
    key: str | None = None,
    now: datetime = NOW,
) -> Withdrawal:
    """Create a withdrawal that must succeed."""
    outcome = ask(bank, investor_id, amount=amount, key=key, now=now)
    assert isinstance(outcome, Created)
    return outcome.withdrawal


def ask(
    bank: BluumBank,
    investor_id: str = "inv_01",
    *,
    amount: str = "250.75",
    key: str | None = None,
    now: datetime = NOW,
) -> Created | Replayed | Refusal:
    """Make a create call whose body says its amount."""
    instruction = replace(INSTRUCTION, amount=Decimal(amount))
    return bank.create(investor_id, instruction, body=amount.encode(), key=key, now=now)


def money(bank: BluumBank, *, now: datetime, investor_id: str = "inv_01") -> tuple[str, str, str]:
    """Return balance, available and reserved dollars."""
    wallets = bank.wallets(investor_id, now=now)
    assert not isinstance(wallets, Refusal)
    wallet = wallets[0]
    return str(wallet.balance), str(wallet.available), str(wallet.reserved)


def code(outcome: object) -> Code | None:
    """Return the code of a refusal."""
    return outcome.code if isinstance(outcome, Refusal) else None


def test_a_create_holds_the_money() -> None:
    """
    After a create the balance is unchanged, and the amount is reserved.
    """
    bank = BluumBank(Ground(TERMS))

    created(bank)

    assert ("1000.00", "749.25", "250.75") == money(bank, now=NOW)


def test_completion_takes_the_money_and_the_hold() -> None:
    """
    Once a withdrawal is completed its amount has left the balance, and nothing is reserved.
    """
    bank = BluumBank(Ground(TERMS))

    withdrawal = created(bank)

    assert Status.COMPLETED is withdrawal.status(NOW + ALL_STEPS)
    assert ("749.25", "749.25", "0.00") == money(bank, now=NOW + ALL_STEPS)


def test_failure_gives_the_money_back() -> None:
    """
    A withdrawal of a failing investor ends failed, says why, and its hold is gone.
    """
    bank = BluumBank(Ground(TERMS))

    withdrawal = created(bank, "inv_failing_1")

    assert Status.FAILED is withdrawal.status(NOW + ALL_STEPS)
    assert withdrawal.failure_reason
    assert ("1000.00", "1000.00", "0.00") == money(
        bank, now=NOW + ALL_STEPS, investor_id="inv_failing_1"
    )


def test_a_slow_investor_waits_for_every_step() -> None:
    """
    It is pending when all others have ended, and ends as they do.
    """
    bank = BluumBank(Ground(TERMS))

    withdrawal = created(bank, "inv_slow_1")

    assert Status.PENDING is withdrawal.status(NOW + ALL_STEPS)
    assert Status.COMPLETED is withdrawal.status(NOW + SLOWNESS * ALL_STEPS)


def test_a_cancellation_gives_the_money_back_once() -> None:
    """
    A cancelled withdrawal releases its hold when cancelled, and not again at its planned end.
    """
    bank = BluumBank(Ground(TERMS))
    withdrawal = created(bank)
    kept = created(bank, amount="100.00")

    cancelled = bank.cancel("inv_01", withdrawal.id, now=NOW)

    assert isinstance(cancelled, Withdrawal)
    assert Status.CANCELLED is cancelled.status(NOW + ALL_STEPS)
    assert ("1000.00", "900.00", "100.00") == money(bank, now=NOW)
    assert ("900.00", "900.00", "0.00") == money(bank, now=kept.ends_at + ALL_STEPS)


def test_only_a_pending_withdrawal_can_be_cancelled() -> None:
    """
    From the first step on a cancellation is refused with 409-003, as is a second one.
    """
    bank = BluumBank(Ground(TERMS))
    processing, cancelled = created(bank), created(bank)
    bank.cancel("inv_01", cancelled.id, now=NOW)

    late = bank.cancel("inv_01", processing.id, now=processing.processing_at)
    ended = bank.cancel("inv_01", processing.id, now=processing.ends_at)

    assert Code.STATE_FORBIDS is code(late)
    assert Code.STATE_FORBIDS is code(ended)
    assert Code.STATE_FORBIDS is code(bank.cancel("inv_01", cancelled.id, now=NOW))


def test_more_than_the_balance_is_insufficient() -> None:
    """
    An amount above the balance is refused with 422-001 and leaves no trace.
    """
    bank = BluumBank(Ground(TERMS))

    assert Code.INSUFFICIENT_FUNDS is code(ask(bank, amount="1000.01"))
    assert () == bank.effects
    assert ("1000.00", "1000.00", "0.00") == money(bank, now=NOW)


def test_more_than_the_available_part_exceeds_what_may_be_withdrawn() -> None:
    """
    An amount within the balance but above what is available is refused with 422-005.
    """
    bank = BluumBank(Ground(TERMS))
    created(bank, amount="600.00")

    assert Code.EXCEEDS_AVAILABLE is code(ask(bank, amount="600.00"))


def test_a_poor_investor_opens_with_one() -> None:
    """
    A magic id opens with 1.00 of each currency.
    """
    wallets = BluumBank(Ground(TERMS)).wallets("inv_poor_7", now=NOW)

    assert not isinstance(wallets, Refusal)
    assert [(currency, Decimal("1.00")) for currency in CURRENCIES] == [
        (wallet.currency, wallet.balance) for wallet in wallets
    ]


def test_steps_follow_the_pace() -> None:
    """
    A withdrawal is pending for one pace, processing for another; jitter only lengthens them.
    """
    withdrawal = created(BluumBank(Ground(TERMS)))

    assert Status.PENDING is withdrawal.status(NOW + TERMS.pace - timedelta.resolution)
    assert Status.PENDING is withdrawal.status(withdrawal.processing_at - timedelta.resolution)
    assert Status.PROCESSING is withdrawal.status(withdrawal.processing_at)
    assert Status.PROCESSING is withdrawal.status(NOW + 2 * TERMS.pace - timedelta.resolution)
    assert Status.COMPLETED is withdrawal.status(NOW + 2 * TERMS.pace * 1.25)


def test_a_known_key_executes_nothing() -> None:
    """
    Within its lifetime a key with the same body returns the withdrawal as it was when created.
    """
    bank = BluumBank(Ground(TERMS))
    first = created(bank, key="wd-1")
    bank.cancel("inv_01", first.id, now=NOW)
    last_moment = NOW + TERMS.key_lifetime - timedelta.resolution

    assert Replayed(first) == ask(bank, key="wd-1", now=last_moment)
    assert 1 == bank.ground.keys.replays
    assert [Kind.WITHDRAWAL, Kind.CANCEL] == [effect.kind for effect in bank.effects]


def test_an_expired_key_executes_again() -> None:
    """
    After its lifetime a key pays a second time: another withdrawal, another hold.
    """
    bank = BluumBank(Ground(TERMS))
    first = created(bank, key="wd-1")

    second = created(bank, key="wd-1", now=NOW + TERMS.key_lifetime)

    assert first.id != second.id
    assert 2 == len(bank.effects)
    assert 0 == bank.ground.keys.replays


def test_an_executed_key_lives_anew() -> None:
    """
    A key that executed again after its expiry is remembered from that moment.
    """
    bank = BluumBank(Ground(TERMS))
    created(bank, key="wd-1")
    again = NOW + TERMS.key_lifetime
    second = created(bank, key="wd-1", now=again)

    assert Replayed(second) == ask(bank, key="wd-1", now=again + TERMS.key_lifetime / 2)


def test_a_key_belongs_to_one_request() -> None:
    """
    A known key with another body, or for another investor, is refused with 409-002.
    """
    bank = BluumBank(Ground(TERMS))
    created(bank, key="wd-1")

    assert Code.KEY_REUSED is code(ask(bank, key="wd-1", amount="250.750"))
    assert Code.KEY_REUSED is code(ask(bank, "inv_02", key="wd-1"))
    assert 1 == len(bank.effects)


def test_a_repeat_may_be_answered_by_a_conflict() -> None:
    """
    With the other reading of the pages a repeat is refused with 409-001, and counted alike.
    """
    bank = BluumBank(Ground(replace(TERMS, replay_answer=ReplayAnswer.CONFLICT)))
    created(bank, key="wd-1")

    assert Code.DUPLICATE is code(ask(bank, key="wd-1"))
    assert 1 == bank.ground.keys.replays
    assert 1 == len(bank.effects)


def test_a_refused_create_is_not_remembered() -> None:
    """
    A key whose create was refused executes once the money is there.
    """
    bank = BluumBank(Ground(TERMS))
    held = created(bank, amount="600.00")
    ask(bank, amount="600.00", key="wd-1")
    bank.cancel("inv_01", held.id, now=NOW)

    assert isinstance(ask(bank, amount="600.00", key="wd-1"), Created)


def test_without_a_key_every_call_executes() -> None:
    """
    The header is optional, and nothing else protects from a repeat.
    """
    bank = BluumBank(Ground(TERMS))

    assert created(bank).id != created(bank).id
    assert 2 == len(bank.effects)


def test_a_run_repeats_itself() -> None:
    """
    The same calls under the same seed give the same ids, times and ends; another seed gives others.
    """
    terms = replace(TERMS, failure_share=0.5)

    def run(seed: str) -> list[Withdrawal]:
        bank = BluumBank(Ground(replace(terms, seed=seed)))
        return [created(bank, f"inv_{n}", key=f"wd-{n}") for n in range(50)]

    assert run("a") == run("a")
    assert {w.id for w in run("a")}.isdisjoint(w.id for w in run("b"))


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.3, 220, 380), (1.0, 1000, 1000)]
)
def test_a_share_of_withdrawals_fails(share: float, least: int, most: int) -> None:
    """
    About as many withdrawals end failed as the terms say, and each of them says why.
    """
    bank = BluumBank(Ground(replace(TERMS, failure_share=share)))

    ends = [created(bank, f"inv_{n}") for n in range(1000)]

    failed = [w for w in ends if w.end is Status.FAILED]
    assert least <= len(failed) <= most
    assert all((w.failure_reason is not None) == (w.end is Status.FAILED) for w in ends)


def test_another_investors_withdrawal_is_not_found() -> None:
    """
    Reading or cancelling through another investor's path is a 404-001.
    """
    bank = BluumBank(Ground(TERMS))
    withdrawal = created(bank)

    assert Code.NOT_FOUND is code(bank.withdrawal("inv_02", withdrawal.id, now=NOW))
    assert Code.NOT_FOUND is code(bank.cancel("inv_02", withdrawal.id, now=NOW))


def test_questions_cost_no_memory() -> None:
    """
    An investor that was only asked about is not kept.
    """
    bank = BluumBank(Ground(TERMS))
    ground = bank.ground

    bank.wallets("inv_09", now=NOW)
    bank.withdrawals("inv_09", Filters(), now=NOW)
    ask(bank, "inv_09", amount="5000.00", key="wd-9")

    assert (0, 0, 0, 0) == (
        len(ground.wallets),
        len(ground.keys),
        len(ground.agenda),
        len(ground.journal.effects),
    )


def test_expired_keys_are_forgotten() -> None:
    """
    The memory of keys holds one lifetime's worth and no more.
    """
    bank = BluumBank(Ground(replace(TERMS, key_lifetime=timedelta(seconds=10))))

    for second in range(100):
        created(bank, f"inv_{second}", key=f"wd-{second}", now=NOW + timedelta(seconds=second))

    assert 10 == len(bank.ground.keys)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("opening_balance", Decimal("-1.00")),
        ("opening_balance", Decimal("0.001")),
        ("opening_balance", Decimal("NaN")),
        ("opening_balance", Decimal("1e16")),
        ("pace", timedelta(seconds=-1)),
        ("failure_share", 1.1),
        ("failure_share", float("nan")),
        ("key_lifetime", timedelta()),
    ],
)
def test_senseless_terms_are_refused(name: str, changed: object) -> None:
    """
    Terms that make no sense are refused, and the field is named.
    """
    with pytest.raises(ValueError, match=f"^{name}: "):
        Terms(**{name: changed})  # type: ignore[arg-type]
