"""A Kubernetes of one's own, without containers: its store, API server, controllers and scheduler.

All of them are the real ones, on loopback, in a folder of their own. There is no kubelet, and no
container runs: nodes.py says what becomes of a pod."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_SECONDS_MAX: Final = 120
_STEP_SECONDS: Final = 0.2
_TOKEN: Final = "known-to-this-machine-alone"


class ClusterFailed(Exception):  # noqa: N818 - named by what happened
    """A part of the cluster ended, or refused what the tests count on; the message says why."""


class Cluster:
    """The four programs, and the clients that talk to them."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Keep data and logs in `folder`, which exists; `programs` is what build.sh printed."""
        self._folder = folder
        self._programs = programs
        self._etcd, peers, self._api, self._controllers, self._scheduler = free_ports(5)
        self._peers = peers
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"
        #: Of the API server, with all rights.
        self.http = httpx.Client(
            base_url=f"https://127.0.0.1:{self._api}",
            headers={"Authorization": f"Bearer {_TOKEN}"},
            verify=False,  # noqa: S501 - the server signs for itself, on loopback
            timeout=_SECONDS_MAX,
        )

    def start(self) -> None:
        """Start everything; the API answers then. Raises ClusterFailed where it does not."""
        self._write_files()
        store = f"http://127.0.0.1:{self._etcd}"
        peers = f"http://127.0.0.1:{self._peers}"
        self._run(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers={store}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._api}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'accounts.pem'}",
            f"--service-account-signing-key-file={self._folder / 'accounts.pem'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
        )
        self._until_ready()
        client = f"--kubeconfig={self.kubeconfig}"
        self._run(
            "kube-controller-manager",
            client,
            "--bind-address=127.0.0.1",
            f"--secure-port={self._controllers}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--service-account-private-key-file={self._folder / 'accounts.pem'}",
            "--leader-elect=false",
            # Nobody renews the nodes' signs of life.
            "--controllers=*,-node-lifecycle-controller",
        )
        self._run(
            "kube-scheduler",
            client,
            "--bind-address=127.0.0.1",
            f"--secure-port={self._scheduler}",
            f"--cert-dir={self._folder / 'certificates'}",
            "--leader-elect=false",
        )

    def stop(self) -> None:
        """End all that was started, the store last."""
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        self.http.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def kubectl(
        self, *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl."""
        return self.run(self._programs / "kubectl", *arguments, given=given)

    def run(
        self, program: Path, *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a client of the cluster, such as Helm."""
        return subprocess.run(
            [program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=given,
            env=self.environment,
            timeout=600,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which clients find this cluster, and no other, and leave nothing at home."""
        return {
            "PATH": f"{self._programs}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._folder),
            "KUBECONFIG": str(self.kubeconfig),
        }

    def objects(self, path: str) -> list[dict[str, Any]]:
        """All objects of a collection, such as `/api/v1/namespaces/money/pods`."""
        found: list[dict[str, Any]] = self.http.get(path).raise_for_status().json()["items"]
        return found

    def create(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Make an object in a collection. Raises ClusterFailed with what the server said."""
        answer = self.http.post(path, json=manifest)
        if answer.is_error:
            raise ClusterFailed(f"{path}: {answer.text}")

    def _write_files(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self._folder / "accounts.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (self._folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        cluster = {
            "server": f"https://127.0.0.1:{self._api}",
            "insecure-skip-tls-verify": True,
        }
        named = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "own", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "admin"}}],
            "current-context": "own",
        }
        # YAML, as all JSON is.
        self.kubeconfig.write_text(json.dumps(named))
        self.kubeconfig.chmod(0o600)

    def _run(self, name: str, *options: str) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [self._programs / name, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
            )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _until_ready(self) -> None:
        until = time.monotonic() + _SECONDS_MAX
        while not self._is_ready():
            for name, process in self._running.items():
                if process.poll() is not None or time.monotonic() > until:
                    raise ClusterFailed(f"{name}: {self._log(name).read_text()[-3000:]}")
            time.sleep(_STEP_SECONDS)

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False
