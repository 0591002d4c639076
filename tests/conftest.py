"""What every test may ask for: a broker, a database, a ledger's address.

Each is started by the tests themselves, once a process, and only when a test asks."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from tests.services.postgres_node import PostgresNode, find_postgres
from worker.demo.rabbitmq_node import HOW_TO_GET_RABBITMQ, Found, RabbitmqNode, find_rabbitmq

_IN_CI = os.environ.get("CI") == "true"

# The time an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if _IN_CI else "default")

# Starting rabbitmqctl costs as much as a dozen virtual hosts.
_VHOSTS_AT_ONCE = 20


@pytest.fixture(scope="session")
def found_rabbitmq() -> Found:
    """The installed RabbitMQ, for tests that start, kill and restart a node of their own.

    Another one, with its rabbitmqctl and epmd beside it, by WITHDRAWALS_TEST_RABBITMQ_SERVER.
    """
    if server := os.environ.get("WITHDRAWALS_TEST_RABBITMQ_SERVER"):
        folder = Path(server).resolve().parent
        return Found(Path(server).resolve(), folder / "rabbitmqctl", folder / "epmd")
    return find_rabbitmq() or _cannot_run(HOW_TO_GET_RABBITMQ)


@pytest.fixture(scope="session")
def rabbitmq(
    found_rabbitmq: Found, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitmqNode]:
    """The node that tests share; not to be stopped by any of them."""
    with RabbitmqNode(tmp_path_factory.mktemp("rabbitmq"), found_rabbitmq) as node:
        yield node


@pytest.fixture(scope="session")
def _vhosts(rabbitmq: RabbitmqNode) -> Iterator[str]:
    return _new_vhosts(rabbitmq)


@pytest.fixture
def rabbitmq_vhost(rabbitmq: RabbitmqNode, _vhosts: Iterator[str]) -> str:
    """The URL of an empty virtual host that no other test sees."""
    return f"{rabbitmq.url}{next(_vhosts)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresNode]:
    """The database server that tests share."""
    programs = find_postgres() or _cannot_run("No PostgreSQL found; see tests/services/install.sh.")
    # Not below pytest's own folder: that one is closed to the user the server runs as.
    with (
        tempfile.TemporaryDirectory(prefix="withdrawals-") as folder,
        PostgresNode(Path(folder), programs) as node,
    ):
        yield node


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger; every test that asks runs once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    postgres: PostgresNode = request.getfixturevalue("postgres")
    return postgres.create_database()


def _new_vhosts(node: RabbitmqNode) -> Iterator[str]:
    batch = 0
    while True:
        names = [f"test-{batch}-{number}" for number in range(_VHOSTS_AT_ONCE)]
        node.ctl("eval", _ADD_VHOSTS % ", ".join(f'<<"{name}">>' for name in names))
        yield from names
        batch += 1


_ADD_VHOSTS = """
lists:foreach(
  fun(Vhost) ->
    rabbit_vhost:add(Vhost, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(
      <<"guest">>, Vhost, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
  end,
  [%s]).
"""


def _cannot_run(why: str) -> NoReturn:
    if _IN_CI:
        pytest.fail(why)
    pytest.skip(why)
