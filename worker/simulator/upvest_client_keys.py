"""The key that a client has registered at the simulated Upvest, and the proof that it signed.

Pure. ECDSA on P-521 with SHA-512 and Ed25519 count (source ALG); a signature of ECDSA is ASN.1 DER,
and the two numbers side by side are refused (S26)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP521R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

#: What a client registers, and what it signs with.
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey

_HASH: Final = SHA512()


class KeyKind(StrEnum):
    """Which key a simulator makes for its client when none is registered."""

    ECDSA = "ecdsa"
    ED25519 = "ed25519"


def make_key(kind: KeyKind = KeyKind.ECDSA) -> PrivateKey:
    """Return a new key. The one value here that does not repeat itself: a key must not."""
    return (
        generate_private_key(SECP521R1()) if kind is KeyKind.ECDSA else Ed25519PrivateKey.generate()
    )


def private_pem(key: PrivateKey) -> bytes:
    """Return a private key as PEM, PKCS#8, without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(pem: bytes) -> PrivateKey:
    """Read what `private_pem` wrote; ValueError when it is no private key on P-521 or Ed25519."""
    try:
        key = load_pem_private_key(pem, None)
    # TypeError: it has a passphrase.
    except (ValueError, TypeError):
        raise ValueError("private_key: no private key in PEM without a passphrase") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP521R1):
        return key
    raise ValueError("private_key: ECDSA on P-521 or Ed25519")


def read_public_key(pem: bytes) -> PublicKey:
    """Read a client's public key; ValueError when it is none on P-521 or Ed25519."""
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise ValueError("public_key: no public key in PEM") from None
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP521R1):
        return key
    raise ValueError("public_key: ECDSA on P-521 or Ed25519")


def has_signed(key: PublicKey, signature: bytes, base: bytes) -> bool:
    """Tell whether the owner of a key signed these bytes."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, base)
        else:
            key.verify(signature, base, ECDSA(_HASH))
    except InvalidSignature:
        return False
    return True
