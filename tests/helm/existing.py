"""What is in the namespace before the chart is installed, as the values' comments ask for it.

Made up, and of the right form: the worker's own settings are loaded from it."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_RABBITMQ: Final = {"WORKER_RABBITMQ__URL": "amqps://worker:secret@rabbitmq.messaging:5671/payouts"}
_POSTGRESQL: Final = "postgresql://worker:secret@ledger.databases:5432/withdrawals"
_OWNER: Final = "postgresql://owner:secret@ledger.databases:5432/withdrawals"
_LEDGER: Final = {"WORKER_LEDGER__URL": _POSTGRESQL}
_BLUUM: Final = {
    "WORKER_BLUUM__API_KEY": "key",
    "WORKER_BLUUM__API_SECRET": "secret",
    "WORKER_BLUUM__WEBHOOK__SECRET": "whsec",
}
_KEY: Final = Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)

#: The keys and values of every Secret that some set of values counts on.
SECRETS: Final[dict[str, dict[str, str]]] = {
    "withdrawals": _RABBITMQ | _LEDGER | _BLUUM,
    "withdrawals-without-ledger": _RABBITMQ | _BLUUM,
    "withdrawals-bluum-accounts": _RABBITMQ
    | _LEDGER
    | {"WORKER_BLUUM_ACCOUNTS__API_KEY": "key", "WORKER_BLUUM_ACCOUNTS__API_SECRET": "secret"},
    "withdrawals-upvest": _RABBITMQ | _LEDGER | {"WORKER_UPVEST__CLIENT_SECRET": "secret"},
    "upvest-signing": {"key.pem": _KEY.decode()},
    "ledger-app": {"uri": _POSTGRESQL},
    "ledger-owner": {"uri": _OWNER},
    "rabbitmq-management": {"url": "https://worker:secret@rabbitmq.messaging:15671/payouts"},
    "registry": {".dockerconfigjson": "{}"},
    "payouts-tls": {"tls.crt": "", "tls.key": ""},
}
CONFIG_MAPS: Final[dict[str, dict[str, str]]] = {
    "proxy": {"NO_PROXY": ".cluster.local"},
    "authority": {"ca.pem": ""},
}
SERVICE_ACCOUNTS: Final = {"default", "payouts"}
