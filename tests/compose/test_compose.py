"""The file and those that it hands to Prometheus and Grafana: valid, and naming what exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jsonschema
import pytest
import yaml

from config.loading import load_settings
from tests.cli.running import Commands
from tests.compose.file import OWN, ROOT, own_services, read, typed, typed_into_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROVISIONING: Final = ROOT / "config" / "grafana" / "provisioning"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The file."""
    return read()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema of compose files."""
    done = subprocess.run(
        [str(ROOT / "tests" / "services" / "compose_schema.sh")],
        check=False,
        capture_output=True,
        text=True,
    )
    if not (path := done.stdout.strip()):
        _cannot_run(done.stderr.strip())
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - its place is a text here
        loaded: dict[str, Any] = json.load(file)
    return loaded


def test_it_is_a_compose_file(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """
    By the specification's own schema.
    """
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)

    assert [] == [f"{e.json_path}: {e.message}" for e in kind(schema).iter_errors(document)]


def test_the_worker_loads_every_setting(document: dict[str, Any]) -> None:
    """
    Its own settings take all variables, none of them unknown to it, and reach the other services.
    """
    own = own_services(document)
    with_settings = {name for name, service in own.items() if "environment" in service}
    for name in with_settings:
        settings = load_settings(environ=own[name]["environment"])

        assert "@rabbitmq:5672/" in settings.rabbitmq.url.get_secret_value()
        assert "@postgres:5432/" in settings.ledger.url.get_secret_value()
        assert settings.bluum.enabled

    assert {"worker", "migrate"} == with_settings


def test_services_share_what_they_must(document: dict[str, Any]) -> None:
    """
    User names and passwords, ports and secrets are the same on both sides.
    """
    services = document["services"]
    settings = load_settings(environ=services["worker"]["environment"])
    broker, database = services["rabbitmq"]["environment"], services["postgres"]["environment"]
    said = dict(word.removeprefix("--").split("=") for word in services["simulator"]["command"][2:])
    told = services["simulator"]["ports"]

    assert (
        f"amqp://{broker['RABBITMQ_DEFAULT_USER']}:{broker['RABBITMQ_DEFAULT_PASS']}@rabbitmq:5672/"
        == settings.rabbitmq.url.get_secret_value()
    )
    assert (
        f"postgresql://{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@postgres:5432/"
        f"{database['POSTGRES_DB']}" == settings.ledger.url.get_secret_value()
    )
    assert f"http://127.0.0.1:{said['port']}/v1" == settings.bluum.base_url
    assert settings.bluum.webhook.secret is not None
    assert said["webhook-secret"] == settings.bluum.webhook.secret.get_secret_value()
    assert f"http://127.0.0.1:{settings.webhooks.port}/webhooks/bluum" == said["webhook-url"]
    assert [f"127.0.0.1:{settings.http.port}:{settings.http.port}"] == told


def test_all_commands_exist(document: dict[str, Any]) -> None:
    """
    Those of our own services, and those that its head tells to type.
    """
    commands = [service["command"] for service in own_services(document).values()]
    commands += [list(command.words[1:]) for command in typed_into_worker()]

    assert len(commands) == 5
    for words in commands:
        # Whatever stands before it is read first, and has to be there.
        told = Commands()(*words, "--help")

        assert 0 == told.exit_code, told.output


def test_its_head_names_services_that_are_there(document: dict[str, Any]) -> None:
    """
    Whoever types a command reaches a service, and a page that is served.
    """
    named = [
        command.words[command.words.index("worker")]
        for command in typed()
        if "worker" in command.words
    ]
    head = (ROOT / "compose.yaml").read_text("utf-8").partition("\nname:")[0]
    pages = set(re.findall(r"http://(127\.0\.0\.1:\d+)", head))

    assert len(named) == 4
    assert named[0] in document["services"]
    assert set() == pages - {host for host, _ in _published(document)}


def test_only_this_machine_reaches_it(document: dict[str, Any]) -> None:
    """
    Every published port listens on loopback, since every password is known.
    """
    assert {"127.0.0.1"} == {host.partition(":")[0] for host, _ in _published(document)}


def test_our_own_containers_have_no_rights(document: dict[str, Any]) -> None:
    """
    Read-only, without capabilities, and with no way to more of them.
    """
    own = own_services(document)

    assert {"worker", "migrate", "simulator"} == set(own)
    for service in own.values():
        assert service["read_only"]
        assert ["ALL"] == service["cap_drop"]
        assert ["no-new-privileges:true"] == service["security_opt"]
        assert not service.get("privileged")


def test_what_is_built_and_mounted_is_there(document: dict[str, Any]) -> None:
    """
    Files of ours exist, other volumes are declared, and others' images name a release.
    """
    services = document["services"].values()
    sources = [mount.split(":")[0] for each in services for mount in each.get("volumes", ())]
    images = {each["image"] for each in services} - {OWN}

    assert (ROOT / "Dockerfile").is_file()
    assert {source for source in sources if source[0] != "."} == set(document["volumes"])
    assert [] == [s for s in sources if s[0] == "." and not (ROOT / s).exists()]
    assert [] == [image for image in images if not re.search(r":v?\d+(\.\d+)*(-\w+)?$", image)]


def test_prometheus_takes_its_configuration(promtool: str) -> None:
    """
    With the rules that it names.
    """
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yaml"],
        cwd=ROOT / "config" / "prometheus",
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_prometheus_finds_what_it_reads(document: dict[str, Any]) -> None:
    """
    Its configuration, each file of rules beside it, and the worker under its name and port.
    """
    services = document["services"]
    prometheus = services["prometheus"]
    config = yaml.safe_load((ROOT / "config" / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    mounted = _mounted(prometheus)
    settings = load_settings(environ=services["worker"]["environment"])
    scraped = [
        target
        for job in config["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    ]

    assert "--config.file=/etc/prometheus/prometheus.yaml" in prometheus["command"]
    assert "./config/prometheus/prometheus.yaml" == mounted["/etc/prometheus/prometheus.yaml"]
    for rules in config["rule_files"]:
        assert f"./config/prometheus/{rules}" == mounted[f"/etc/prometheus/{rules}"]
    assert [f"worker:{settings.http.port}"] == scraped
    # The worker has no network of its own: its name is one of the network's that it shares.
    assert "service:simulator" == services["worker"]["network_mode"]
    assert ["worker"] == services["simulator"]["networks"]["default"]["aliases"]


def test_grafana_finds_the_dashboard_and_its_data(document: dict[str, Any]) -> None:
    """
    The dashboard lies where its provider looks and asks nothing but the data source that is there.
    """
    grafana, mounted = _grafana(document)
    (provider,) = _provisioned("dashboards")["providers"]
    (source,) = _provisioned("datasources")["datasources"]
    config = yaml.safe_load((ROOT / "config" / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    dashboard = json.loads((ROOT / "config" / "grafana" / "dashboard.json").read_text("utf-8"))
    (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    (place,) = [inside for inside, source in mounted.items() if source.endswith("/dashboard.json")]

    assert "./config/grafana/provisioning" == mounted["/etc/grafana/provisioning"]
    assert place.rpartition("/")[0] == provider["options"]["path"]
    assert place == grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert "withdrawals-worker" == dashboard["uid"]
    assert source["isDefault"]
    assert source["type"] == variable["query"]
    assert "http://prometheus:9090" == source["url"]
    assert config["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
    assert set() == set(_sources(dashboard)) - {f"${{{variable['name']}}}", "-- Grafana --"}


def _published(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Address and port outside, port inside, of every port that is published."""
    ports = [port for each in document["services"].values() for port in each.get("ports", ())]
    return [(outside, inside) for outside, _, inside in (port.rpartition(":") for port in ports)]


def _mounted(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted, by the place inside."""
    return {mount.split(":")[1]: mount.split(":")[0] for mount in service["volumes"]}


def _grafana(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    grafana: dict[str, Any] = document["services"]["grafana"]
    return grafana, _mounted(grafana)


def _provisioned(kind: str) -> dict[str, Any]:
    (path,) = (_PROVISIONING / kind).iterdir()
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert 1 == loaded["apiVersion"]
    return loaded


def _sources(part: object) -> Iterator[str]:
    """The uid of every data source that is named anywhere in a dashboard."""
    if isinstance(part, dict):
        source = part.get("datasource")
        if isinstance(source, dict):
            yield source["uid"]
        for each in part.values():
            yield from _sources(each)
    elif isinstance(part, list):
        for each in part:
            yield from _sources(each)


def _cannot_run(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
