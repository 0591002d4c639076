"""The private key that signs the calls to a provider: read from its PEM file, or why it cannot be.

Nothing of the file's content and nothing of the passphrase is in any message."""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey

#: A key is a few hundred bytes; anything much longer is another file.
KEY_BYTES_MAX = 16 * 1024

EXPECTED = "the path of a PEM file with a private key, ECDSA on P-521 or Ed25519"

_LABELS = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_KINDS = {
    b"PUBLIC KEY": "a public key",
    b"CERTIFICATE": "a certificate",
    b"CERTIFICATE REQUEST": "a certificate request",
    b"OPENSSH PRIVATE KEY": "a key in the form of OpenSSH",
}


class KeyUnfit(Exception):  # noqa: N818 - named by what is wrong, as every outcome here
    """The key file cannot be used; the message says what was found in its place."""


class PassphraseUnfit(Exception):  # noqa: N818 - the same
    """The passphrase is not that of the key file; the message says what was found and expected."""


def read_signing_key(path: Path, passphrase: SecretStr | None) -> SigningKey:
    """
    The key in a PEM file: ECDSA on P-521, or Ed25519, in PKCS #8 or OpenSSL's older form.

    Raises KeyUnfit and PassphraseUnfit.
    """
    secret = passphrase.get_secret_value() if passphrase is not None else ""
    key = _load(_content(path), secret.encode() or None)
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey):
        if isinstance(key.curve, SECP521R1):
            return key
        raise KeyUnfit(f"a key on the curve {key.curve.name}")
    if isinstance(key, RSAPrivateKey):
        raise KeyUnfit("an RSA key")
    raise KeyUnfit("a key of another kind")


def _content(path: Path) -> bytes:
    if "-----BEGIN" in str(path):
        raise KeyUnfit("the text of a key")
    try:
        with path.open("rb") as file:
            content = file.read(KEY_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        # ValueError: no path at all, since it holds a NUL.
        why = error.strerror if isinstance(error, OSError) else None
        raise KeyUnfit((why or "no path of a file").lower()) from None
    if len(content) > KEY_BYTES_MAX:
        raise KeyUnfit(f"a file of more than {KEY_BYTES_MAX // 1024} KiB")
    labels = _LABELS.findall(content)
    if not labels:
        raise KeyUnfit("a file that is not PEM")
    if not any(label.endswith(b"PRIVATE KEY") for label in labels) or labels[0] in _KINDS:
        raise KeyUnfit(_KINDS.get(labels[0], "a PEM file without a private key"))
    return content


def _load(content: bytes, passphrase: bytes | None) -> object:
    is_encrypted = b"ENCRYPTED" in content
    if is_encrypted and passphrase is None:
        raise PassphraseUnfit("missing, expected because the key file is encrypted")
    if not is_encrypted and passphrase is not None:
        raise PassphraseUnfit("found one, expected none because the key file is not encrypted")
    try:
        return load_pem_private_key(content, passphrase)
    except UnsupportedAlgorithm:
        raise KeyUnfit("a key or an encryption that is not known here") from None
    except (ValueError, TypeError):
        # The library's words may quote from the content.
        if is_encrypted:
            raise PassphraseUnfit(
                "found one that does not open the key file, expected the file's own"
                " (or the file is damaged)"
            ) from None
        raise KeyUnfit("a PEM file that cannot be read") from None
