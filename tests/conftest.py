"""What every test may ask for: a broker, a database, a ledger's address.

Each is started by the tests themselves, once a run, and only when a test asks."""

import asyncio
import gc
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from tests.ledger import second
from tests.ledger.compiled import compile_once
from tests.services.postgres_node import BRISK, PostgresNode, brisk_folder, find_postgres
from tests.services.shared import shared
from tests.services.vhosts import Vhosts
from worker.demo.rabbitmq_node import HOW_TO_GET_RABBITMQ, Found, RabbitmqNode, find_rabbitmq
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata

# A shell that starts something in the background has it ignore SIGINT, and every process inherits
# that: those that the tests interrupt could not hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_HERE = Path(__file__).parent
_IN_CI = os.environ.get("CI") == "true"

# The time an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if _IN_CI else "default")

compile_once()

#: What waits longest: a single test of these may take a minute, and most of that is waiting.
_LONG = (
    # Has the image built, which others wait for.
    "image/test_end_to_end.py",
    "faults/test_faults.py",
    "app/test_restarts.py",
    "demo/test_demo.py",
    "app",
    "services",
    "cli/test_resolve.py",
    "runbook",
    "rabbitmq",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have every process of a parallel run begin with its share of what waits.

    Each gets one stretch of the list (`--dist worksteal`), and takes from others' when it is done:
    in the end small tests are left, and no long one for which all the others wait.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes == 1:
        return
    long = sorted((item for item in items if _rank(item) < len(_LONG)), key=_rank)
    short = [item for item in items if _rank(item) == len(_LONG)]
    dealt: list[pytest.Item] = []
    for process in range(processes):
        stretch = (len(items) - len(dealt)) // (processes - process)
        share = long[process::processes]
        dealt += share + [short.pop(0) for _ in range(min(stretch - len(share), len(short)))]
    items[:] = dealt + short


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(_HERE)
    return next((n for n, long in enumerate(_LONG) if path.is_relative_to(long)), len(_LONG))


def pytest_collection_finish() -> None:
    """Have garbage looked for seldom, and never among the tests themselves: a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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
def _of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this run."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def rabbitmq(found_rabbitmq: Found, _of_the_run: Path) -> Iterator[RabbitmqNode]:
    """The node that tests share; not to be stopped by any of them."""
    folder = _of_the_run / "rabbitmq"

    @contextmanager
    def start() -> Iterator[list[int]]:
        with SharedRabbitmq(folder, found_rabbitmq) as node:
            yield node.ports

    with shared(_of_the_run / "rabbitmq-shared", start) as ports:
        yield SharedRabbitmq(folder, found_rabbitmq, ports)


@pytest.fixture(scope="session")
def _vhosts(rabbitmq: RabbitmqNode) -> Vhosts:
    return Vhosts(rabbitmq)


@pytest.fixture
def rabbitmq_vhost(rabbitmq: RabbitmqNode, _vhosts: Vhosts) -> Iterator[str]:
    """The URL of an empty virtual host that no other test sees."""
    name = _vhosts.take()
    yield f"{rabbitmq.url}{name}"
    _vhosts.give_back(name)


@pytest.fixture(scope="session")
def postgres(_of_the_run: Path) -> Iterator[PostgresNode]:
    """The database server that tests share."""
    programs = find_postgres() or _cannot_run("No PostgreSQL found; see tests/services/install.sh.")

    @contextmanager
    def start() -> Iterator[tuple[str, int]]:
        # Not below pytest's own folder: that one is closed to the user the server runs as.
        with (
            brisk_folder() as folder,
            PostgresNode(folder, programs, settings=BRISK) as node,
        ):
            yield str(folder), node.port

    with shared(_of_the_run / "postgres-shared", start) as (folder, port):
        yield PostgresNode(Path(folder), programs, settings=BRISK, port=port)


@pytest.fixture(scope="session")
def promtool() -> str:
    """The program that checks and tests rules; it comes with Prometheus."""
    missing = "promtool is missing: tests/services/install.sh installs it"
    return shutil.which("promtool") or _cannot_run(missing)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger; every test that asks runs once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    postgres: PostgresNode = request.getfixturevalue("postgres")
    return postgres.create_database()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _postgres_ledger(postgres: PostgresNode) -> str:
    url = postgres.create_database()
    asyncio.run(migrate(url))
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """The URL of an empty ledger in a file, with its schema."""
    path = tmp_path / "ledger.db"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(_postgres_ledger: str) -> str:
    """The URL of an empty ledger in PostgreSQL, with its schema."""
    # Emptied, not made anew: a database costs its files, and a checkpoint that writes them all.
    deletes = [str(table.delete()) for table in reversed(metadata.sorted_tables)]
    asyncio.run(second.write(_postgres_ledger, "; ".join(deletes)))
    return _postgres_ledger


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty ledger with its schema; who asks runs once on each database."""
    url: str = request.getfixturevalue(request.param)
    return url


class SharedRabbitmq(RabbitmqNode):
    """A node, or with its `ports` one that another process has started in this folder."""

    def __init__(self, folder: Path, found: Found, ports: Sequence[int] = ()) -> None:
        super().__init__(folder, found)
        if ports:
            self.port, self._dist_port, self._epmd_port = ports

    @property
    def ports(self) -> list[int]:
        """By which another process finds it."""
        return [self.port, self._dist_port, self._epmd_port]


def _cannot_run(why: str) -> NoReturn:
    if _IN_CI:
        pytest.fail(why)
    pytest.skip(why)
