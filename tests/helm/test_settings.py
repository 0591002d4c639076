"""What the worker's own settings class makes of what the chart gives a pod.

The settings are loaded, no worker is started."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

import pytest

from config.loading import load_settings
from config.settings import Settings
from config.variables import SECRETS_DIR, is_secret, variables
from tests.helm.chart import SETS, Chart
from tests.helm.existing import CONFIG_MAPS, SECRETS
from tests.helm.kubelet import Namespace, environment
from tests.helm.manifests import Manifest, of_kind, parse, pods, worker
from tests.helm.references import config_maps

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo

#: Containers that load the settings; what a set of values adds does not.
_OURS: Final = {"worker", "migrate", "check"}
_KEY_FILE: Final = "WORKER_UPVEST__PRIVATE_KEY_FILE"
#: Follows from `ledger.type`.
_SHARED: Final = "WORKER_LEDGER__SHARED"
#: Another text than the default, for those settings that take a text.
_TEXTS: Final = {
    "BASE_URL": "https://sandbox.example.com/v1",
    "HEADER": "X-Other",
    # Kubernetes reads $(NAME) as a reference, unless it is told not to.
    "PREFIX": "v1$(HOSTNAME)$$=",
    "TIMESTAMP_HEADER": "X-Time",
    "CLIENT_ID": "8d5e9a4c-7f0d-4c5c-9b1c-6f6e0a8a9d11",
    "KEY_ID": "another",
    "PATH": "/hooks/upvest",
    "SOURCES": "192.0.2.0/24",
    "HOST": "::",
}


def _namespace(manifests: list[Manifest], **more: dict[str, str]) -> Namespace:
    made = {
        found["spec"]["target"]["name"]: {
            entry["secretKey"]: SECRETS["withdrawals"][entry["secretKey"]]
            for entry in found["spec"]["data"]
        }
        for found in of_kind(manifests, "ExternalSecret")
    }
    return Namespace(manifests, secrets=SECRETS | made | more, config_maps=CONFIG_MAPS)


@pytest.mark.parametrize("name", SETS)
def test_every_container_finds_settings_that_it_can_use(
    name: str, chart: Chart, tmp_path: Path
) -> None:
    """
    Worker, migration and test are given the same settings, complete and without a contradiction.

    Only the ledger's user may be another for the migration.
    """
    manifests = parse(chart.rendered(name))
    loaded = [
        load_settings(
            environ=environment(pod, container, _namespace(manifests), tmp_path),
            dotenv=tmp_path / "none",
        ).model_dump(exclude={"ledger": {"url"}})
        for pod in pods(manifests)
        for container in pod.containers
        if container["name"] in _OURS
    ]

    assert loaded
    assert [loaded[0]] * len(loaded) == loaded


@pytest.mark.parametrize("name", SETS)
def test_ports_and_ledger_are_those_of_the_pod(name: str, chart: Chart, tmp_path: Path) -> None:
    """
    The worker listens where the ports point and keeps its ledger on the volume or in the database.

    And it stops in less time than it is given.
    """
    manifests = parse(chart.rendered(name))
    workload, pod = worker(manifests)
    (container,) = (found for found in pod.containers if found["name"] == "worker")
    variables_ = environment(pod, container, _namespace(manifests), tmp_path)
    settings = load_settings(environ=variables_, dotenv=tmp_path / "none")
    listens = {"http": settings.http.port, "webhooks": settings.webhooks.port}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    ledger = settings.ledger.url.get_secret_value()
    hook = container.get("lifecycle", {}).get("preStop")
    waits = int(hook["exec"]["command"][1]) if hook else 0
    grace = timedelta(seconds=pod.spec["terminationGracePeriodSeconds"] - waits)

    assert {port: listens[port] for port in ports} == ports
    if workload["kind"] == "StatefulSet":
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert ledger.removeprefix("sqlite:///").rpartition("/")[0] in mounts
        assert workload["spec"]["replicas"] <= 1
    else:
        assert SECRETS["ledger-app"]["uri"] == ledger
        assert settings.ledger.shared
    assert settings.shutdown_timeout < grace


def test_every_setting_can_be_reached(chart: Chart, tmp_path: Path) -> None:
    """
    Each setting of the class, but the secrets, has a value in the chart that arrives in the worker.
    """
    others = {
        name: _other(name, field) for name, field in variables(Settings) if not is_secret(field)
    }
    # Where the container finds a key of its Secret.
    others[_KEY_FILE] = "/run/secrets/withdrawals-worker/key.pem"
    everything = _every_secret()
    told = {name: value for name, value in others.items() if name != _SHARED}
    done = chart.render({"existingSecret": "everything", "settings": _tree(told)})
    manifests = parse(done.stdout)
    _, pod = worker(manifests)
    (container,) = pod.spec["containers"]
    mounted = everything | SECRETS["upvest-signing"]
    namespace = _namespace(manifests, everything=mounted)
    environ = environment(pod, container, namespace, tmp_path)
    found = load_settings(environ=environ, dotenv=tmp_path / "none")
    texts = {name: _text(value) for name, value in others.items()}
    texts[_KEY_FILE] = f"{tmp_path}{others[_KEY_FILE]}"

    assert "" == done.stderr
    assert load_settings(environ=texts | everything, dotenv=tmp_path / "none") == found
    for name in others:
        assert _at(Settings(), name) != _at(found, name), name


@pytest.mark.parametrize("name", ["bluum", "migration-hook"])
def test_the_migration_has_a_user_of_its_own(name: str, chart: Chart, tmp_path: Path) -> None:
    """
    Its URL is seen by the migration and by no worker, whether that is a Job or an init container.
    """
    manifests = parse(chart.rendered(name))
    users = {
        (container["name"], urlsplit(settings.ledger.url.get_secret_value()).username)
        for pod in pods(manifests)
        for container in pod.containers
        if container["name"] in _OURS
        for settings in [
            load_settings(
                environ=environment(pod, container, _namespace(manifests), tmp_path / pod.owner),
                dotenv=tmp_path / "none",
            )
        ]
    }

    assert {("migrate", "owner"), ("worker", "worker")} == users - {("check", "worker")}


def test_the_secret_may_say_what_the_values_do_not(chart: Chart, tmp_path: Path) -> None:
    """
    A default of the chart wins over nothing, what the values say wins; ports are the chart's.
    """
    address, other = "https://sandbox.example.com/v1", "https://other.example.com/v1"
    values = {"existingSecret": "more", "settings": {"upvest": {"baseUrl": other}}}
    more = SECRETS["withdrawals"] | {
        "WORKER_BLUUM__BASE_URL": address,
        "WORKER_UPVEST__BASE_URL": address,
        "WORKER_HTTP__PORT": "9999",
    }
    manifests = parse(chart.render(values).stdout)
    _, pod = worker(manifests)
    (container,) = pod.spec["containers"]
    environ = environment(pod, container, _namespace(manifests, more=more), tmp_path)
    found = load_settings(environ=environ, dotenv=tmp_path / "none")

    assert (address, other, 8080) == (
        found.bluum.base_url,
        found.upvest.base_url,
        found.http.port,
    )


def test_a_pod_finds_the_settings_of_its_own_release(chart: Chart) -> None:
    """
    Other settings have another name, none changes, and none goes while a pod may start again.

    They are a hook that is made before all others, also on the way back, and that nothing removes:
    as a part of the release that is kept, they keep Helm before 3.22 from `rollback`.
    """
    hook = {
        "helm.sh/hook": "pre-install,pre-upgrade,pre-rollback",
        "helm.sh/hook-weight": "-10",
        "helm.sh/hook-delete-policy": "before-hook-creation",
        "helm.sh/resource-policy": "keep",
    }
    names: dict[str, str] = {}
    for name in SETS:
        manifests = parse(chart.rendered(name))
        made = {found["metadata"]["name"]: found for found in of_kind(manifests, "ConfigMap")}
        for pod in pods(manifests):
            for used in config_maps(pod) & made.keys():
                annotations = made[used]["metadata"]["annotations"]
                assert made[used]["immutable"]
                assert hook == annotations
                names[used.rpartition("-")[2]] = str(made[used]["data"])

    assert len(names) > 1
    assert len(names) == len(set(names.values()))


def test_a_variable_of_the_user_replaces_ours(chart: Chart) -> None:
    """
    None stands twice: a server that applies on its side (Helm 4, Argo CD) refuses that.
    """
    attributes = {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "k8s.pod.name=$(POD_NAME)"}
    values = {
        "existingSecret": "withdrawals",
        "settings": {"tracing": {"enabled": True}},
        "extraEnv": [attributes],
    }
    containers = [
        container["env"]
        for pod in pods(parse(chart.render(values).stdout))
        for container in pod.containers
    ]

    assert {("POD_NAME", "POD_NAMESPACE", "OTEL_RESOURCE_ATTRIBUTES")} == {
        tuple(variable["name"] for variable in found) for found in containers
    }
    assert all(attributes == found[-1] for found in containers)


def test_a_new_value_replaces_the_pods(chart: Chart) -> None:
    """
    Pods are made anew when a setting changes, and only then: the checksum is that of the settings.
    """
    sums = [
        worker(parse(chart.rendered(name)))[1].metadata["annotations"]["checksum/config"]
        for name in ("default", "autoscaling", "bluum")
    ]

    assert sums[0] == sums[1]
    assert sums[0] != sums[2]


def test_no_secret_is_seen(chart: Chart) -> None:
    """
    No manifest has room for one: every secret comes by a file, never by a variable.
    """
    secrets = {name for name, field in variables(Settings) if is_secret(field)}
    # Where SQLite's file lies is none.
    secrets -= {"WORKER_LEDGER__URL"}
    named = {
        variable["name"]
        for name in SETS
        for pod in pods(parse(chart.rendered(name)))
        for container in pod.containers
        for variable in container.get("env", ())
    } | {
        key
        for name in SETS
        for found in of_kind(parse(chart.rendered(name)), "ConfigMap")
        for key in found["data"]
    }

    assert SECRETS_DIR in named
    assert set() == secrets & named


def _every_secret() -> dict[str, str]:
    """A value for each secret, but the passphrase: the key has none."""
    return {
        name: SECRETS["withdrawals"].get(name, "secret")
        for name, field in variables(Settings)
        if is_secret(field) and not name.endswith("PASSPHRASE")
    }


def _other(name: str, field: FieldInfo) -> object:
    """A value that the setting may have and does not have by default."""
    kind, default = field.annotation, field.default
    if get_origin(kind) is Literal:
        return next(choice for choice in reversed(get_args(kind)) if choice != default)
    match default:
        case bool():
            return not default
        case int():
            return default + 1
        case float():
            return default / 2
        case timedelta():
            return default.total_seconds() / 2
        case _:
            return _TEXTS.get(name.rpartition("__")[2], "DEBUG")


def _tree(values: dict[str, object]) -> dict[str, Any]:
    """The values of the chart that lead to these variables."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = (_camel(part) for part in name.removeprefix("WORKER_").split("__"))
        group = tree
        for part in groups:
            group = group.setdefault(part, {})
        group[leaf] = value
    return tree


def _camel(part: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), part.lower())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(settings: Settings, name: str) -> object:
    found: Any = settings
    for part in name.removeprefix("WORKER_").lower().split("__"):
        found = getattr(found, part)
    return found
