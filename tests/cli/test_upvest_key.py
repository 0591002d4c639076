"""What commands tell of the key and the credentials for Upvest."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from tests.cli.running import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSPHRASE: Final = "passphrase-nobody-may-see"


@pytest.fixture
def upvest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands with credentials of Upvest's, its key in a file, and nothing else there."""
    monkeypatch.chdir(tmp_path)
    key = generate_private_key(SECP521R1())
    lock = BestAvailableEncryption(_PASSPHRASE.encode())
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, lock))
    return Commands(
        WORKER_RABBITMQ__URL="amqp://guest:guest@127.0.0.1:1/",
        WORKER_LEDGER__URL=f"sqlite:///{tmp_path / 'ledger.db'}",
        WORKER_UPVEST__BASE_URL="http://127.0.0.1:1",
        WORKER_UPVEST__CLIENT_ID="ebabcf4d-61c3-4942-875c-e265a7c2d062",
        WORKER_UPVEST__CLIENT_SECRET="secret-nobody-may-see",
        WORKER_UPVEST__KEY_ID="key-1",
        WORKER_UPVEST__PRIVATE_KEY_FILE=str(file),
        WORKER_UPVEST__PRIVATE_KEY_PASSPHRASE=_PASSPHRASE,
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_passphrase_that_does_not_fit_ends_a_command(upvest: Commands, command: str) -> None:
    """
    One line that names the setting, exit code 2, and neither passphrase in it.
    """
    result = upvest(command, WORKER_UPVEST__PRIVATE_KEY_PASSPHRASE="another-nobody-may-see")

    assert 2 == result.exit_code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("WORKER_UPVEST__PRIVATE_KEY_PASSPHRASE: found one that does not open")
    assert "nobody-may-see" not in result.output


def test_check_names_all_that_may_be_why_we_are_refused(upvest: Commands) -> None:
    """
    The four settings of the credentials, and the clock, since a signature is good for a minute.
    """
    with _refusing() as base_url:
        result = upvest("check", "--json", WORKER_UPVEST__BASE_URL=base_url)
    finding = {found["name"]: found for found in json.loads(result.stdout)}["upvest"]

    assert 1 == result.exit_code
    assert (False, "credentials refused") == (finding["holds"], finding["detail"])
    for name in ("CLIENT_ID", "CLIENT_SECRET", "KEY_ID", "PRIVATE_KEY_FILE"):
        assert f"WORKER_UPVEST__{name}" in finding["mend"]
    assert "clock" in finding["mend"]
    assert "nobody-may-see" not in result.output


class _Refusing(BaseHTTPRequestHandler):
    """Refuses every call for a token, as OAuth2 has it."""

    def do_POST(self) -> None:
        body = b'{"error": "invalid_client"}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
