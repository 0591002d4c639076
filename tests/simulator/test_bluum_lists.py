"""Lists of withdrawals over real HTTP: order, filters and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.talk import FIELDS, error, talking

if TYPE_CHECKING:
    from tests.simulator.talk import Talk


async def _three(talk: Talk) -> list[str]:
    """Create a completed, a cancelled and a pending withdrawal, on two days; return their ids."""
    completed = (await talk.create(key="wd-1", method="wire")).json()["id"]
    await talk.advance(24 * 3600)
    cancelled = (await talk.create(key="wd-2", currency="EUR")).json()["id"]
    await talk.cancel(cancelled)
    pending = (await talk.create(key="wd-3")).json()["id"]
    await talk.create("inv_02", key="wd-4")
    return [completed, cancelled, pending]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [2, 1, 0]),
        ({"status": "pending"}, [2]),
        ({"status": "processing"}, []),
        ({"status": "submitted"}, []),
        ({"status": "completed"}, [0]),
        ({"status": "canceled"}, [1]),
        ({"status": "failed"}, []),
        ({"method": "wire"}, [0]),
        ({"currency": "EUR"}, [1]),
        ({"limit": "1"}, [2]),
        ({"limit": "1", "offset": "1"}, [1]),
        ({"limit": "200", "offset": "2"}, [0]),
        ({"status": "pending", "currency": "EUR"}, []),
    ],
)
async def test_a_list_is_filtered(query: dict[str, str], found: list[int]) -> None:
    """
    An investor's own withdrawals, newest first, by any filter and any two of them.
    """
    async with talking() as talk:
        ids = await _three(talk)
        data = (await talk.get("/investors/inv_01/withdrawals", **query)).json()["data"]

    assert [ids[which] for which in found] == [document["id"] for document in data]


async def test_a_list_is_filtered_by_days() -> None:
    """
    Both ends of a range of days are included.
    """
    async with talking() as talk:
        ids = await _three(talk)
        path = "/investors/inv_01/withdrawals"
        first = (await talk.get(f"{path}/{ids[0]}")).json()["initiated_at"][:10]
        last = (await talk.get(f"{path}/{ids[2]}")).json()["initiated_at"][:10]
        pages = [
            (await talk.get(path, **query)).json()["data"]
            for query in (
                {"date_from": first, "date_to": last},
                {"date_to": first},
                {"date_from": last},
            )
        ]

    assert [[ids[2], ids[1], ids[0]], [ids[0]], [ids[2], ids[1]]] == [
        [document["id"] for document in data] for data in pages
    ]


async def test_a_list_can_be_paged_through() -> None:
    """
    Pages follow each other without gap or overlap, and the last one says so.
    """
    async with talking() as talk:
        created = [(await talk.create(key=f"wd-{n}")).json()["id"] for n in range(5)]
        pages = [
            (await talk.get("/investors/inv_01/withdrawals", limit=2, offset=offset)).json()
            for offset in (0, 2, 4)
        ]

    assert [True, True, False] == [page["has_more"] for page in pages]
    assert created[::-1] == [document["id"] for page in pages for document in page["data"]]
    assert {"list"} == {page["object"] for page in pages}
    assert {"/v1/investors/inv_01/withdrawals"} == {page["url"] for page in pages}


async def test_a_listed_withdrawal_is_the_one_that_is_read() -> None:
    """
    List and get show the same document.
    """
    async with talking() as talk:
        created = (await talk.create()).json()
        listed = (await talk.get("/investors/inv_01/withdrawals")).json()["data"]
        read = (await talk.get(f"/investors/inv_01/withdrawals/{created['id']}")).json()

    assert [created] == listed
    assert created == read
    assert FIELDS.items() <= read.items()


async def test_a_bad_filter_is_refused() -> None:
    """
    A page above 200 is a 400 that names the parameter.
    """
    async with talking() as talk:
        response = await talk.get("/investors/inv_01/withdrawals", limit=201)

    assert (400, "BLUM-400-003", "limit") == error(response)
