"""The simulated Upvest's sell orders, and what becomes of them (OREF, OST, OEX, OBUF, OINT).

Pure, like the bank. Every account holds every instrument; nobody buys. `upvest_terms` lists the
instruments with a course of their own."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Final

from worker.simulator.upvest_ground import problem_of_customer
from worker.simulator.upvest_journal import Effect, Kind, Notice
from worker.simulator.upvest_order import (
    BY_CLIENT,
    BY_PARTNER,
    SMALLEST_SHARE,
    Execution,
    ExecutionStatus,
    Order,
    OrderStatus,
)
from worker.simulator.upvest_order_documents import execution_document, order_document
from worker.simulator.upvest_problems import Kind as ProblemKind
from worker.simulator.upvest_problems import Problem
from worker.simulator.upvest_terms import (
    CUT,
    HALTED,
    LAPSED,
    MISTRADE,
    NO_INSTRUMENT,
    PARTIAL,
    RESTING,
    SCARCE,
    SCARCE_SHARES,
    STUCK,
    CancelRule,
)

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.upvest_ground import Ground
    from worker.simulator.upvest_order import Ticket

#: A sale by its amount must leave a tenth of the position (OBUF).
NOMINAL_SHARE_MAX: Final = Decimal("0.9")
_NOT_FOUND: Final = Problem(ProblemKind.NOT_FOUND, "No such order.", "order_id")


class UpvestMarket:
    """Takes sell orders and sells. One client, any number of accounts."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._orders: dict[str, Order] = {}
        self._of_account: dict[str, list[str]] = {}
        self._committed: dict[tuple[str, str], Decimal] = {}

    def accepted(self, order_id: str) -> Order:
        """Return an order as it is; KeyError when there is none."""
        return self._orders[order_id]

    def place(self, ticket: Ticket, *, key: str, body: bytes, now: datetime) -> Order | Problem:
        """Accept a sell order; that its key is new has been found out before.

        Problems: 403, 404, and 422 for what cannot be sold.
        """
        self._ground.agenda.run(now)
        if problem := self._problem(ticket):
            return problem
        is_passed_on = not ticket.instrument_id.startswith(RESTING)
        terms = self._ground.terms
        order = Order(
            id=self._ground.new_id("order", key, body),
            idempotency_key=key,
            ticket=ticket,
            shares=ticket.shares_at(terms.share_price),
            created_at=now,
            processing_at=now + terms.fill_delay / 2 if is_passed_on else None,
        )
        self._orders[order.id] = order
        self._of_account.setdefault(ticket.account_id, []).append(order.id)
        self._commit(order, order.shares)
        self._ground.journal.enter(Effect(Kind.ORDER, order.id, now))
        self._tell(order.as_accepted(), now)
        self._plan(order)
        return order.as_accepted()

    def cancel(self, order_id: str, *, now: datetime) -> Order | Problem:
        """Accept the cancellation of an order that is NEW; it takes effect afterwards (S19).

        Problems: 404, and the terms' own for one that is not NEW.
        """
        self._ground.agenda.run(now)
        found = self._orders.get(order_id)
        if found is None:
            return _NOT_FOUND
        terms = self._ground.terms
        rule = self._cancel_rule(found.ticket.account_id)
        status = found.status(now)
        if status is not OrderStatus.NEW or rule is CancelRule.REFUSED:
            detail = f"An order that is {status} cannot be cancelled."
            return Problem.of_status(int(terms.cancel_refusal), detail)
        if rule is CancelRule.HEEDED:
            self._ground.agenda.plan(
                now, lambda at: self._end(order_id, BY_CLIENT, at, still_new=True)
            )
        return found

    def order(self, order_id: str, *, now: datetime) -> Order | Problem:
        """Return one order; 404 when there is none of that id, or not yet."""
        self._ground.agenda.run(now)
        found = self._orders.get(order_id)
        if found is None or found.created_at > self._ground.terms.seen_at(now):
            return _NOT_FOUND
        return found

    def orders(self, account_id: str, *, now: datetime) -> tuple[Order, ...]:
        """Return all orders of an account, ascending by their time."""
        self._ground.agenda.run(now)
        seen_at = self._ground.terms.seen_at(now)
        found = (self._orders[order_id] for order_id in self._of_account.get(account_id, ()))
        return tuple(order for order in found if order.created_at <= seen_at)

    def _cancel_rule(self, account_id: str) -> CancelRule:
        """Return what becomes of a cancellation, by the account or else by its group."""
        terms = self._ground.terms
        rule = terms.cancel_rule_for(account_id)
        if rule is not terms.cancel_rule:
            return rule
        return terms.cancel_rule_for(self._ground.coffers.group_of(account_id))

    def _problem(self, ticket: Ticket) -> Problem | None:
        isin = ticket.instrument_id
        if problem := problem_of_customer(ticket.account_id):
            return replace(problem, instance="account_id")
        if isin.startswith((NO_INSTRUMENT, HALTED)):
            detail = "The instrument is unknown or cannot be traded."
            return Problem(ProblemKind.UNPROCESSABLE, detail, "instrument_id")
        opening = SCARCE_SHARES if isin.startswith(SCARCE) else self._ground.terms.opening_shares
        held = opening - self._committed.get((ticket.account_id, isin), Decimal(0))
        wanted = ticket.shares_at(self._ground.terms.share_price)
        if wanted > held:
            return Problem(ProblemKind.UNPROCESSABLE, "The position is smaller.", "quantity")
        if ticket.quantity is None and wanted > held * NOMINAL_SHARE_MAX:
            detail = "A sale by amount must not exceed 90 % of the position."
            return Problem(ProblemKind.UNPROCESSABLE, detail, "cash_amount")
        if not wanted:
            detail = "The amount is less than a part of a share."
            return Problem(ProblemKind.UNPROCESSABLE, detail, "cash_amount")
        return None

    def _plan(self, order: Order) -> None:
        """Put the course of an order on the agenda: its fills, or its end without them."""
        if order.processing_at is None:
            return
        self._ground.agenda.plan(order.processing_at, lambda at: self._pass_on(order.id, at))
        isin, whole = order.ticket.instrument_id, order.shares
        half = (whole / 2).quantize(SMALLEST_SHARE, ROUND_DOWN)
        is_crossed = order.ticket.is_crossed(self._ground.terms.share_price)
        if isin.startswith(STUCK) or not is_crossed:
            return
        if isin.startswith(LAPSED):
            self._plan_end(order, step=1)
        elif isin.startswith(PARTIAL):
            self._plan_fill(order, half, step=1)
            self._plan_fill(order, whole - half, step=2)
        elif isin.startswith(CUT):
            self._plan_fill(order, half, step=1)
            self._plan_end(order, step=2)
        else:
            self._plan_fill(order, whole, step=1)

    def _plan_fill(self, order: Order, quantity: Decimal, *, step: int) -> None:
        """Sell some shares in a while, if the order still stands by then."""

        def fill(at: datetime) -> None:
            standing = self._orders[order.id]
            if standing.cancelled_at is None and quantity:
                self._fill(standing, quantity, at)

        self._ground.agenda.plan(order.created_at + step * self._ground.terms.fill_delay, fill)

    def _plan_end(self, order: Order, *, step: int) -> None:
        """Let the trading partner end the order in a while, if it still stands by then."""
        self._ground.agenda.plan(
            order.created_at + step * self._ground.terms.fill_delay,
            lambda at: self._end(order.id, BY_PARTNER, at),
        )

    def _pass_on(self, order_id: str, at: datetime) -> None:
        standing = self._orders[order_id]
        if standing.cancelled_at is None:
            self._tell(standing, at)

    def _fill(self, order: Order, quantity: Decimal, at: datetime) -> None:
        terms = self._ground.terms
        execution = Execution(
            id=self._ground.new_id("execution", order.id),
            at=at,
            quantity=quantity,
            price=terms.share_price,
            settles_at=at + terms.settlement_delay,
            is_mistrade=order.ticket.instrument_id.startswith(MISTRADE),
        )
        filled = replace(order, executions=(*order.executions, execution))
        self._orders[order.id] = filled
        group, currency = self._purse(order)
        self._ground.coffers.earn(group, currency, execution.proceeds)
        self._ground.journal.enter(Effect(Kind.FILL, order.id, at, quantity))
        if filled.filled(at) == filled.shares:
            self._tell(filled, at)
        self._tell_execution(filled, execution, ExecutionStatus.FILLED, at)
        self._ground.agenda.plan(
            execution.settles_at, lambda then: self._settle(order.id, execution, then)
        )

    def _settle(self, order_id: str, execution: Execution, at: datetime) -> None:
        """Let the proceeds be withdrawn, or take them back when the trade was a mistake."""
        order = self._orders[order_id]
        group, currency = self._purse(order)
        if execution.is_mistrade:
            self._ground.coffers.earn(group, currency, -execution.proceeds)
            self._commit(order, -execution.quantity)
            self._ground.journal.enter(Effect(Kind.MISTRADE, order_id, at))
            self._tell_execution(order, execution, ExecutionStatus.CANCELLED, at)
        else:
            self._ground.coffers.settle(group, currency, execution.proceeds)
            self._ground.journal.enter(Effect(Kind.SETTLEMENT, order_id, at))
            self._tell_execution(order, execution, ExecutionStatus.SETTLED, at)

    def _end(self, order_id: str, reason: str, at: datetime, *, still_new: bool = False) -> None:
        """End an order without another fill; the shares that were not sold are free again."""
        order = self._orders[order_id]
        status = order.status(at)
        is_possible = {OrderStatus.NEW} if still_new else {OrderStatus.NEW, OrderStatus.PROCESSING}
        if status not in is_possible:
            return
        ended = replace(order, cancelled_at=at, reason=reason)
        self._orders[order_id] = ended
        self._commit(order, order.filled(at) - order.shares)
        self._ground.journal.enter(Effect(Kind.ORDER_CANCEL, order_id, at))
        self._tell(ended, at)

    def _commit(self, order: Order, quantity: Decimal) -> None:
        place = (order.ticket.account_id, order.ticket.instrument_id)
        self._committed[place] = self._committed.get(place, Decimal(0)) + quantity

    def _purse(self, order: Order) -> tuple[str, str]:
        """Return whose cash an order raises, and in which currency."""
        return self._ground.coffers.group_of(order.ticket.account_id), order.ticket.currency

    def _tell(self, order: Order, at: datetime) -> None:
        document = order_document(order, now=at)
        self._ground.journal.tell(Notice(f"ORDER.{order.status(at)}", at, order.id, document))

    def _tell_execution(
        self, order: Order, execution: Execution, status: ExecutionStatus, at: datetime
    ) -> None:
        document = execution_document(order, execution, now=at) | {"status": status}
        # Of the order, so that the record names what was placed.
        self._ground.journal.tell(Notice(f"EXECUTION.{status}", at, order.id, document))
        group, currency = self._purse(order)
        if self._ground.coffers.knows(group):
            self._ground.tell_balance(group, currency, at)
