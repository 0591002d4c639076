"""Values that do not fit: Helm makes nothing of them, and says in a sentence why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.helm.chart import Chart

_SECRET: Final = {"existingSecret": "withdrawals"}
_STORE: Final = {"name": "vault"}
_ON: Final = {"enabled": True}


class Case(NamedTuple):
    """Values, and what is said of them: by the schema, and by the templates where it is skipped."""

    values: dict[str, Any]
    said: str
    said_without_schema: str | None = None


CASES: Final = {
    "no secret": Case(
        {},
        "at '/existingSecret': value must be 'the name of a Secret in the namespace of the release",
        "existingSecret is empty: name a Secret",
    ),
    "unknown key": Case(_SECRET | {"replicas": 2}, "additional properties 'replicas' not allowed"),
    "unknown setting": Case(
        _SECRET | {"settings": {"bluum": {"ratelimit": 5}}},
        "at '/settings/bluum': additional properties 'ratelimit' not allowed",
    ),
    "a secret among the settings": Case(
        _SECRET | {"settings": {"bluum": {"apiKey": "key"}}},
        "at '/settings/bluum': additional properties 'apiKey' not allowed",
    ),
    "wrong type": Case(
        _SECRET | {"replicaCount": "two"}, "at '/replicaCount': got string, want integer"
    ),
    "out of bounds": Case(
        _SECRET | {"settings": {"rabbitmq": {"prefetch": 1000}}},
        "at '/settings/rabbitmq/prefetch': maximum: got 1,000, want 250",
    ),
    "no such word": Case(
        _SECRET | {"settings": {"defaultProvider": "acme"}},
        "at '/settings/defaultProvider': value must be one of 'bluum', 'bluum_accounts', 'upvest'",
    ),
    "no duration": Case(
        _SECRET | {"settings": {"shutdownTimeout": "25s"}},
        "value must be 'a duration in seconds such as 15 or 0.3, or in ISO 8601 such as PT15M'",
    ),
    "an address without TLS": Case(
        _SECRET | {"settings": {"bluum": {"baseUrl": "http://bluum.example.com/v1"}}},
        "at '/settings/bluum/baseUrl': value must be 'https://host/path without user",
    ),
    "no such ledger": Case(
        _SECRET | {"ledger": {"type": "mysql"}},
        "at '/ledger/type': value must be one of 'postgresql', 'sqlite'",
        "ledger.type is mysql: it has to be postgresql or sqlite.",
    ),
    "two workers on SQLite": Case(
        _SECRET | {"ledger": {"type": "sqlite"}, "replicaCount": 2},
        "at '/replicaCount': value must be '1, since a SQLite ledger serves one worker",
        "A SQLite ledger serves one worker: set replicaCount to 1",
    ),
    "SQLite scaled by load": Case(
        _SECRET | {"ledger": {"type": "sqlite"}, "replicaCount": 1, "autoscaling": _ON},
        "at '/autoscaling/enabled': value must be 'false with ledger.type sqlite",
        "A SQLite ledger serves one worker",
    ),
    "SQLite scaled by the queue": Case(
        _SECRET | {"ledger": {"type": "sqlite"}, "replicaCount": 1, "keda": _ON},
        "at '/keda/enabled': value must be 'false with ledger.type sqlite",
        "A SQLite ledger serves one worker",
    ),
    "scaled by both": Case(
        _SECRET | {"autoscaling": _ON, "keda": _ON},
        "at '/keda/enabled': value must be 'false with autoscaling.enabled",
        "autoscaling and keda are both enabled",
    ),
    "scaled to nothing": Case(
        _SECRET | {"keda": _ON | {"minReplicas": 0}},
        "value must be 'at least 1: withdrawals under way are followed when the queue is empty'",
    ),
    "more workers than find work": Case(
        _SECRET | {"keda": _ON | {"maxReplicas": 10}},
        "keda.maxReplicas is 10, and at most 3 workers find work: they share 25 requests a second",
        "keda.maxReplicas is 10, and at most 3 workers find work",
    ),
    "fewest above most": Case(
        _SECRET | {"keda": _ON | {"minReplicas": 4}},
        "keda.minReplicas is 4, more than the 3 of keda.maxReplicas",
    ),
    "both monitors": Case(
        _SECRET | {"podMonitor": _ON, "serviceMonitor": _ON},
        "at '/podMonitor/enabled': value must be 'false with serviceMonitor.enabled",
        "podMonitor and serviceMonitor are both enabled",
    ),
    "two secrets": Case(
        _SECRET
        | {"externalSecrets": _ON | {"secretStoreRef": _STORE, "dataFrom": [{"extract": {}}]}},
        "at '/existingSecret': value must be 'empty with externalSecrets.enabled",
        "existingSecret is given and externalSecrets is enabled",
    ),
    "no store": Case(
        {"externalSecrets": _ON | {"dataFrom": [{"extract": {}}]}},
        "at '/externalSecrets/secretStoreRef/name': value must be 'the name of the store",
        "externalSecrets.secretStoreRef.name is empty",
    ),
    "nothing from the store": Case(
        {"externalSecrets": _ON | {"secretStoreRef": _STORE}},
        "at '/externalSecrets/data': value must be 'where each secret is in the store",
        "externalSecrets.data and externalSecrets.dataFrom are empty",
    ),
    "a hook before its secret": Case(
        {
            "externalSecrets": _ON | {"secretStoreRef": _STORE, "dataFrom": [{"extract": {}}]},
            "migration": {"mode": "hook"},
        },
        "at '/migration/mode': value must be 'init with externalSecrets.enabled",
        "migration.mode is hook and externalSecrets is enabled",
    ),
    "topology of no broker": Case(
        _SECRET | {"rabbitmqTopology": _ON},
        "at '/rabbitmqTopology/cluster/name': value must be 'the name of the RabbitmqCluster",
        "rabbitmqTopology.cluster needs the name of the RabbitmqCluster or a connectionSecret",
    ),
    "topology of two brokers": Case(
        _SECRET | {"rabbitmqTopology": _ON | {"cluster": {"name": "a", "connectionSecret": "b"}}},
        "at '/rabbitmqTopology/cluster/name': value must be 'empty with rabbitmqTopology.cluster",
        "rabbitmqTopology.cluster needs the name of the RabbitmqCluster or a connectionSecret",
    ),
    "an Ingress to nothing": Case(
        _SECRET | {"webhooks": {"ingress": _ON | {"hosts": ["a.example.com"]}}},
        "at '/webhooks/enabled': value must be 'true with webhooks.ingress.enabled",
        "webhooks.ingress is enabled: it needs webhooks.enabled",
    ),
    "an Ingress without a host": Case(
        _SECRET | {"webhooks": _ON | {"ingress": _ON}},
        "at '/webhooks/ingress/hosts': value must be 'at least one host name",
        "and at least one of webhooks.ingress.hosts",
    ),
    "two keys of Upvest": Case(
        _SECRET
        | {
            "secrets": {"upvestPrivateKey": {"name": "upvest", "key": "key.pem"}},
            "settings": {"upvest": {"privateKeyFile": "/key.pem"}},
        },
        "value must be 'empty with secrets.upvestPrivateKey.key, which sets it'",
        "secrets.upvestPrivateKey.key and settings.upvest.privateKeyFile are both given",
    ),
    "a runbook with a section": Case(
        _SECRET | {"prometheusRule": _ON | {"runbookBaseUrl": "https://a.example.com/b#c"}},
        "at '/prometheusRule/runbookBaseUrl': value must be 'http(s)://host/path without a",
    ),
    "no interval": Case(
        _SECRET | {"podMonitor": _ON | {"interval": "often"}},
        "at '/podMonitor/interval': value must be 'a duration of Prometheus such as 30s",
    ),
    "no name of a Secret": Case(
        {"existingSecret": "My Secret"},
        "at '/existingSecret': value must be 'the name of an object in Kubernetes",
    ),
    "a setting among the variables": Case(
        _SECRET | {"extraEnv": [{"name": "WORKER_HTTP__PORT", "value": "9090"}]},
        "at '/extraEnv/0/name': value must be 'nothing that begins with WORKER_: settings belong",
    ),
    "an update of nobody": Case(
        _SECRET | {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
        "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0",
    ),
    "an update that cannot end": Case(
        _SECRET | {"minReadySeconds": 600},
        "minReadySeconds is 600 and progressDeadlineSeconds 600: no update could end in time",
    ),
    "fewest above most, by load": Case(
        _SECRET | {"autoscaling": _ON | {"minReplicas": 5}},
        "autoscaling.minReplicas is 5, more than the 4 of autoscaling.maxReplicas",
    ),
    "one port for both": Case(
        _SECRET | {"webhooks": _ON, "settings": {"http": {"port": 8081}}},
        "settings.http.port and settings.webhooks.port are both 8081",
    ),
    "probes of nobody": Case(
        _SECRET | {"settings": {"http": {"host": "127.0.0.1"}}},
        "at '/settings/http/host': value must be 'an address that others reach",
    ),
    "nobody may be evicted": Case(
        _SECRET | {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "at '/podDisruptionBudget/maxUnavailable': value must be 'above 0",
    ),
    "root": Case(
        _SECRET | {"podSecurityContext": {"runAsUser": 0}},
        "at '/podSecurityContext/runAsUser': value must be 'above 0",
    ),
    "two tags": Case(
        _SECRET | {"image": {"repository": "registry:5000/withdrawals-worker:1.0"}},
        "at '/image/repository': value must be 'the name of an image in lower case",
    ),
    "an annotation of the chart's": Case(
        _SECRET | {"podAnnotations": {"checksum/config": "1"}},
        "at '/podAnnotations/checksum~1config': value must be 'left out: the chart sets",
    ),
    "a name with a dot": Case(
        _SECRET | {"fullnameOverride": "pay.outs"},
        "at '/fullnameOverride': value must be 'a name that a Service may have",
        "The release would be named pay.outs: names of Services begin with a letter",
    ),
    "a tag that no image has": Case(
        _SECRET | {"image": {"tag": "sha256:0123"}},
        "at '/image/tag': value must be 'the tag of an image",
    ),
    "a label that Kubernetes refuses": Case(
        _SECRET | {"commonLabels": {"team": "pay outs"}},
        "at '/commonLabels/team': value must be 'what a label may be",
    ),
    "a label that Prometheus refuses": Case(
        _SECRET | {"prometheusRule": _ON | {"alertLabels": {"on-call": "payouts"}}},
        "at '/prometheusRule/alertLabels/on-call': value must be 'left out: no label of Prometheus",
    ),
    "a way out without a port": Case(
        _SECRET | {"networkPolicy": {"broker": {"ports": []}}},
        "at '/networkPolicy/broker/ports': value must be 'at least one port: a rule without any",
    ),
    "more than all away": Case(
        _SECRET | {"rollingUpdate": {"maxUnavailable": "150%"}},
        "at '/rollingUpdate/maxUnavailable': value must be 'a number or a share up to 100%'",
    ),
    "ranges of nobody": Case(
        _SECRET | {"webhooks": _ON | {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
        "at '/webhooks/service/loadBalancerSourceRanges': value must be 'empty without type Load",
    ),
    "an address for a host": Case(
        _SECRET | {"webhooks": _ON | {"ingress": _ON | {"hosts": ["https://a.example.com"]}}},
        "at '/webhooks/ingress/hosts/0': value must be 'the name of a host in lower case",
    ),
    "a label of the chart's": Case(
        _SECRET | {"commonLabels": {"app.kubernetes.io/name": "mine"}},
        "value must be 'left out: the chart sets this label itself'",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_sentence_says_what_is_wrong(case: Case, chart: Chart) -> None:
    """
    Values that cannot work are refused before anything is installed, by the key that is wrong.
    """
    refused = chart.render(case.values)

    assert 1 == refused.returncode
    assert "" == refused.stdout
    assert case.said in refused.stderr


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.said_without_schema])
def test_templates_refuse_it_too(name: str, chart: Chart) -> None:
    """
    What does not fit together is refused also by those who skip the schema, as some pipelines do.
    """
    refused = chart.render(CASES[name].values, "--skip-schema-validation")

    assert 1 == refused.returncode
    assert str(CASES[name].said_without_schema) in refused.stderr
