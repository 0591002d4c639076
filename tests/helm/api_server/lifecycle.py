"""The chart on a real API server: what it refuses, and what an upgrade does to what is there.

Not among the tests of every run, by its name: building Kubernetes takes a while. `make
chart-api-server` runs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from tests.helm.api_server.cluster import Cluster
from tests.helm.api_server.nodes import BROKEN, Nodes
from tests.helm.api_server.tenant import NAME, Tenant, prepare_cluster
from tests.helm.chart import CHART, NEWEST, SETS, VALUES, install_helm

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUILD: Final = Path(__file__).parent / "build.sh"
#: A release that is being waited for, on a machine that does much else.
_PATIENCE: Final = ("--wait", "--timeout", "180s")
_QUICK: Final = ("--set", "minReadySeconds=0")


@pytest.fixture(scope="module")
def installed_helm() -> Path:
    """The pinned Helm, and beside it the operators' kinds."""
    installed = install_helm()
    assert installed.stdout, installed.stderr
    return Path(installed.stdout.strip())


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of Kubernetes' programs and the other Helms, built once."""
    if given := os.environ.get("WITHDRAWALS_TEST_KUBERNETES"):
        return Path(given)
    built = subprocess.run([_BUILD], check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


@pytest.fixture(scope="module")
def cluster(
    programs: Path, installed_helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster with two nodes and everything that the sets of values count on."""
    with Cluster(tmp_path_factory.mktemp("cluster"), programs) as running, Nodes(running) as nodes:
        prepare_cluster(running, installed_helm.parents[1] / "crds")
        yield running
    assert nodes.error is None


@pytest.fixture(params=SETS)
def name(request: pytest.FixtureRequest) -> str:
    """Each set of values in turn."""
    found: str = request.param
    return found


#: What outlives the release, by the set of values, beside the settings.
_STAYS: Final = {
    "sqlite": {f"PersistentVolumeClaim/{NAME}-ledger"},
    "topology": {
        *(f"Exchange/{NAME}{suffix}" for suffix in ("", "-events", "-dead-letters")),
        *(
            f"{kind}/{NAME}-{queue}"
            for kind in ("Queue", "Binding")
            for queue in ("requests", "cancellations", "dead-letters")
        ),
    },
}


def test_a_set_of_values_lives(name: str, cluster: Cluster, installed_helm: Path) -> None:
    """
    It is installed without a warning, runs, passes `helm test`, is upgraded to the same, and goes.

    An upgrade to the same values replaces no pod. What is kept stays, and nothing else.
    """
    tenant = Tenant(cluster, installed_helm, f"lives-{name}")
    dry = tenant.install(name, "--dry-run=server")
    assert (0, "") == (dry.returncode, dry.stderr)
    done = tenant.install(name, *_PATIENCE, *_QUICK)
    assert (0, "") == (done.returncode, done.stderr)

    pods = tenant.pods()
    assert {"Running"} == {*pods.values()}
    if "test" not in (yaml.safe_load((VALUES / f"{name}.yaml").read_text()) or {}):
        tested = tenant.helm("test")
        assert 0 == tested.returncode, tested.stderr
        assert "Phase:          Succeeded" in tested.stdout
    for budget in tenant.get("poddisruptionbudgets"):
        assert len(pods) == budget["status"]["expectedPods"] == budget["status"]["currentHealthy"]

    again = tenant.install(name, *_PATIENCE, *_QUICK)
    assert (0, "") == (again.returncode, again.stderr)
    assert pods == tenant.pods()

    gone = tenant.helm("uninstall", "--wait")
    assert 0 == gone.returncode, gone.stderr
    kept = tenant.objects()
    settings = {found for found in kept if "-settings-" in found}
    assert 1 == len(settings)
    tests = {found for found in kept if found.startswith("Pod/") and found.endswith("-test")}
    assert _STAYS.get(name, set()) == kept - settings - tests


def test_a_set_of_values_is_applied_twice(
    name: str, cluster: Cluster, installed_helm: Path
) -> None:
    """
    `helm template | kubectl apply --server-side`: taken whole, and the second time nothing changes.

    As Argo CD does it: hooks are objects like others.
    """
    tenant = Tenant(cluster, installed_helm, f"applied-{name}")
    file = str(VALUES / f"{name}.yaml")
    rendered = tenant.helm("template", str(CHART), "--values", file, "--kube-version", NEWEST)
    done = tenant.kubectl("apply", "--server-side", "--filename", "-", given=rendered.stdout)

    assert (0, "") == (done.returncode, done.stderr)
    assert "" == _difference(tenant, rendered.stdout)


@pytest.fixture(params=["pinned", "3.17", "4"])
def any_helm(request: pytest.FixtureRequest, programs: Path, installed_helm: Path) -> Path:
    """Helm as pinned, before its rollback took what exists, and of the next generation."""
    return installed_helm if request.param == "pinned" else programs / f"helm-{request.param}"


def test_an_upgrade_is_rolled_back_and_forth(
    any_helm: Path, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """
    Pods of each release have its own settings, also after `helm rollback`, in either direction.
    """
    tenant = Tenant(cluster, any_helm, f"rollback-{_tag(request)}")
    changes = ("--set", "settings.logLevel=DEBUG", "--set", "replicaCount=3")
    found = [
        _at_work(tenant, tenant.install("default", *_PATIENCE, *_QUICK)),
        _at_work(tenant, tenant.install("default", *_PATIENCE, *_QUICK, *changes)),
        _at_work(tenant, tenant.helm("rollback", "1", *_PATIENCE)),
        _at_work(tenant, tenant.helm("rollback", "2", *_PATIENCE)),
    ]

    assert [(2, None), (3, "DEBUG"), (2, None), (3, "DEBUG")] == found


def test_an_upgrade_that_fails_is_taken_back(
    any_helm: Path, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """
    `--atomic` leaves the old workers at work, those very pods, and a release that is whole.
    """
    tenant = Tenant(cluster, any_helm, f"atomic-{_tag(request)}")
    assert 0 == tenant.install("default", *_PATIENCE, *_QUICK).returncode
    before = tenant.pods()
    broken = ("--set", f"image.tag={BROKEN}", "--set", "settings.logLevel=DEBUG")
    done = tenant.install("default", "--atomic", "--timeout", "20s", *_QUICK, *broken)
    status = json.loads(tenant.helm("status", "--output", "json").stdout)

    assert 1 == done.returncode
    assert "rolled back" in done.stderr
    assert "deployed" == status["info"]["status"]
    assert before == tenant.pods()
    assert "WORKER_LOG_LEVEL" not in tenant.settings()


def test_a_migration_that_fails_stops_the_upgrade(cluster: Cluster, installed_helm: Path) -> None:
    """
    The Job's failure is Helm's; no pod was touched, the Job stays for its log, the next one works.
    """
    tenant = Tenant(cluster, installed_helm, "migration-fails")
    assert 0 == tenant.install("migration-hook", *_PATIENCE, *_QUICK).returncode
    before = tenant.pods()
    broken = ("--set", f"image.tag={BROKEN}", "--set", "migration.activeDeadlineSeconds=2")
    failed = tenant.install("migration-hook", *_PATIENCE, *_QUICK, *broken)
    jobs = {found["metadata"]["name"] for found in tenant.get("jobs")}
    mended = tenant.install(
        "migration-hook", *_PATIENCE, *_QUICK, "--set", "settings.logLevel=DEBUG"
    )

    assert 1 == failed.returncode
    assert "pre-upgrade hooks failed" in failed.stderr
    assert {f"{NAME}-migrate"} == jobs
    assert 0 == mended.returncode, mended.stderr
    assert set() == tenant.pods().keys() & before.keys()
    assert [] == tenant.get("jobs")


def test_a_stateful_set_takes_every_change(cluster: Cluster, installed_helm: Path) -> None:
    """
    What its pod, its pace and its number come from may change, and the volume stays the same one.

    Even through `helm uninstall`: who installs it again finds the ledger.
    """
    tenant = Tenant(cluster, installed_helm, "stateful")
    options = (
        (),
        ("--set", "minReadySeconds=1", "--set", "revisionHistoryLimit=2"),
        ("--set", "settings.logLevel=DEBUG", "--set", "image.tag=another"),
        ("--set", "commonLabels.team=payouts", "--set", "annotations.team=payouts"),
        ("--set", "webhooks.enabled=true", "--set", "settings.webhooks.port=9081"),
        ("--set", "replicaCount=0"),
        (),
    )
    claims = set()
    for changed in options:
        done = tenant.install("sqlite", *_PATIENCE, *_QUICK, *changed)
        assert (0, "") == (done.returncode, done.stderr), changed
        assert int("replicaCount=0" not in changed) == len(tenant.pods()), changed
        claims |= {found["metadata"]["uid"] for found in tenant.get("persistentvolumeclaims")}
    assert 0 == tenant.helm("uninstall", "--wait").returncode
    again = tenant.install("sqlite", *_PATIENCE, *_QUICK)
    claims |= {found["metadata"]["uid"] for found in tenant.get("persistentvolumeclaims")}

    assert 0 == again.returncode, again.stderr
    assert 1 == len(claims)


def test_a_deployment_takes_every_change(cluster: Cluster, installed_helm: Path) -> None:
    """
    One set of values after the other, in one release: no field stands in the way of the next.
    """
    tenant = Tenant(cluster, installed_helm, "changing")
    # Names are the release's for good, and another ledger begins empty.
    for values in sorted(set(SETS) - {"digest", "sqlite"}):
        done = tenant.install(values, *_PATIENCE, *_QUICK)
        assert (0, "") == (done.returncode, done.stderr), values
    for change in ("LoadBalancer", "NodePort", "ClusterIP"):
        done = tenant.install("upvest", *_PATIENCE, "--set", f"webhooks.service.type={change}")
        assert (0, "") == (done.returncode, done.stderr), change


def test_the_longest_name_is_not_too_long(cluster: Cluster, installed_helm: Path) -> None:
    """
    A release may have a name of 53 characters, as Helm allows, whatever the chart makes of it.
    """
    tenant = Tenant(cluster, installed_helm, "long")
    longest = "a-release-with-the-longest-name-that-helm-lets-us-giv"
    for values in ("migration-hook", "sqlite", "webhooks", "topology", "monitoring", "keda"):
        file = str(VALUES / f"{values}.yaml")
        options = ("--namespace", tenant.name, str(CHART), "--values", file, *_PATIENCE, *_QUICK)
        done = cluster.run(installed_helm, "upgrade", "--install", longest, *options)
        assert (0, "") == (done.returncode, done.stderr), values


def _difference(tenant: Tenant, manifests: str) -> str:
    """What another apply would change; asked again where a controller came in between."""
    found = ""
    for _ in range(5):
        done = tenant.kubectl("diff", "--server-side", "--filename", "-", given=manifests)
        found = done.stdout + done.stderr
        if done.returncode == 0:
            break
    return found


def _at_work(tenant: Tenant, done: subprocess.CompletedProcess[str]) -> tuple[int, str | None]:
    """How many workers there are after this command, which succeeded, and how they log."""
    assert 0 == done.returncode, done.stderr
    return len(tenant.pods()), tenant.settings().get("WORKER_LOG_LEVEL")


def _tag(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.id).replace(".", "-")  # a namespace has no dots
