"""A whole worker that pays out through Upvest: from the message to the bank, with all that is real.

What each call says on the wire is tested with the providers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.providers.stages import ACCOUNT, ACCOUNT_GROUP, REFERENCE_ACCOUNT, USER
from worker.app import SHAPES
from worker.providers.upvest_requests import UpvestRequest
from worker.simulator.upvest_journal import Kind
from worker.simulator.upvest_options import CLIENT_ID, CLIENT_SECRET, KEY_ID
from worker.simulator.upvest_server import UpvestOptions, serve_upvest
from worker.simulator.upvest_terms import UpvestTerms

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Start
    from tests.app.harness import Desk


async def test_cash_is_raised_settled_and_paid_out(
    desk: Desk, start: Start, tmp_path: Path
) -> None:
    """
    Shares are sold, their settlement is waited for, and the cash is withdrawn and confirmed.
    """
    options = UpvestOptions(
        rate_limit=0,
        latency=timedelta(0),
        terms=UpvestTerms(
            pace=timedelta(seconds=0.2),
            fill_delay=timedelta(seconds=0.2),
            settlement_delay=timedelta(seconds=1),
        ),
    )
    key = tmp_path / "key.pem"
    request = {
        "provider": "upvest",
        "account_group_id": ACCOUNT_GROUP,
        "reference_account_id": REFERENCE_ACCOUNT,
        "user_id": USER,
        "amount": "200.00",
        "currency": "EUR",
        "sell": [{"account_id": ACCOUNT, "instrument_id": "US0378331005", "cash_amount": "200"}],
    }
    async with serve_upvest(options) as upvest:
        key.write_bytes(upvest.private_pem)
        await start(
            f"sqlite:///{tmp_path}/ledger.db",
            WORKER_UPVEST__BASE_URL=upvest.base_url,
            WORKER_UPVEST__CLIENT_ID=CLIENT_ID,
            WORKER_UPVEST__CLIENT_SECRET=CLIENT_SECRET,
            WORKER_UPVEST__KEY_ID=KEY_ID,
            WORKER_UPVEST__PRIVATE_KEY_FILE=str(key),
        )
        await desk.send("req-1", json.dumps(request).encode())
        await desk.have_ended(1)
        kinds = [effect.kind for effect in upvest.simulation.house.ground.journal.effects]

    # What has passed between two looks is not told.
    told = [status for status in desk.statuses("req-1") if status != "processing"]
    assert ["received", "raising_cash", "pending", "completed"] == told
    assert [Kind.ORDER, Kind.FILL, Kind.SETTLEMENT, Kind.WITHDRAWAL] == kinds


def test_its_shape_is_known() -> None:
    """
    Commands check a request before it is sent, whether Upvest is enabled here or not.
    """
    assert UpvestRequest is SHAPES["upvest"]
