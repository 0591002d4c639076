"""The key that signs: which files are taken, and what an operator is told of all others."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import SecretStr

from config.loading import SettingsInvalid, load_settings
from config.signing_keys import EXPECTED, KEY_BYTES_MAX, KeyUnfit, read_signing_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from config.settings import Settings

NO_DOTENV: Final = Path("/nonexistent/.env")
PASSPHRASE: Final = "hunter2-hunter2"
P521: Final = ec.generate_private_key(ec.SECP521R1())
ED25519: Final = ed25519.Ed25519PrivateKey.generate()
PREFIX: Final = "WORKER_UPVEST__PRIVATE_KEY_"
UPVEST: Final = {
    "WORKER_UPVEST__CLIENT_ID": "ebabcf4d-61c3-4942-875c-e265a7c2d062",
    "WORKER_UPVEST__CLIENT_SECRET": "client-secret-nobody-may-see",
    "WORKER_UPVEST__KEY_ID": "key-1",
}
_WRONG: Final = (
    "found one that does not open the key file, expected the file's own (or the file is damaged)"
)
SECRETS: Final = (PASSPHRASE, "client-secret-nobody-may-see")


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE, "pâße with spaces\\'\""])
@pytest.mark.parametrize("key", [P521, ED25519], ids=["P-521", "Ed25519"])
def test_a_key_is_read(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, passphrase: str
) -> None:
    """
    Both kinds, with a passphrase and without; the settings take it too.
    """
    file = _written(tmp_path, _pem(key, passphrase))

    found = read_signing_key(file, SecretStr(passphrase) if passphrase else None)
    assert _public(key) == _public(found)
    assert _load(file, passphrase).upvest.enabled


@pytest.mark.parametrize("form", ["ecparam", "ec -aes256", "pkcs8"])
def test_a_key_made_as_upvest_says_is_read(tmp_path: Path, form: str) -> None:
    """
    By the commands of OpenSSL that Upvest documents; where there is none, in the same forms.
    """
    if shutil.which("openssl"):
        content = _made_by_openssl(tmp_path, form)
    else:  # pragma: no cover
        old = PrivateFormat.TraditionalOpenSSL if form != "pkcs8" else PrivateFormat.PKCS8
        content = _pem(P521, None if form == "ecparam" else PASSPHRASE, form=old)

    passphrase = None if form == "ecparam" else SecretStr(PASSPHRASE)
    key = read_signing_key(_written(tmp_path, content), passphrase)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert 521 == key.curve.key_size


def _public_pem() -> bytes:
    return P521.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _unknown_algorithm() -> bytes:
    """Make a key in PKCS #8 whose algorithm is 1.2.3.4."""
    content = b64encode(bytes.fromhex("300c02010030050603" + "2a0304" + "0400"))
    return b"-----BEGIN PRIVATE KEY-----\n" + content + b"\n-----END PRIVATE KEY-----\n"


def _openssh() -> bytes:
    return ED25519.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda: _pem(ec.generate_private_key(ec.SECP256R1())), "a key on the curve secp256r1"),
        (lambda: _pem(rsa.generate_private_key(65537, 2048)), "an RSA key"),
        (lambda: _pem(ed448.Ed448PrivateKey.generate()), "a key of another kind"),
        (_unknown_algorithm, "a key or an encryption that is not known here"),
        (_public_pem, "a public key"),
        (_openssh, "a key in the form of OpenSSH"),
        (lambda: b"-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----", "a certificate"),
        (lambda: b"-----BEGIN X-----\nMIIC\n-----END X-----", "a PEM file without a private key"),
        (lambda: _pem(P521)[:120], "a PEM file that cannot be read"),
        (
            lambda: P521.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            "a file that is not PEM",
        ),
        (lambda: b"", "a file that is not PEM"),
        (lambda: b"\xff\x00" * 50, "a file that is not PEM"),
        (lambda: _pem(P521) + b"\n" * KEY_BYTES_MAX, "a file of more than 16 KiB"),
    ],
)
def test_any_other_file_is_one_line_that_says_what_it_is(
    tmp_path: Path, content: object, found: str
) -> None:
    """
    The variable, what was found and what was expected.
    """
    assert callable(content)
    file = _written(tmp_path, content())

    assert (f"{PREFIX}FILE: found {found}, expected {EXPECTED}",) == _problems(file)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("nowhere.pem", "no such file or directory"),
        (".", "is a directory"),
        ("key\0.pem", "no path of a file"),
        ("x" * 5000, "file name too long"),
    ],
)
def test_a_path_without_a_file_is_named(tmp_path: Path, path: str, found: str) -> None:
    """
    In the system's words where it has some.
    """
    line = f"{PREFIX}FILE: found {found}, expected {EXPECTED}"
    assert (line,) == _problems(tmp_path / path)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """
    A secret that is mounted for another user. Root may read it, and then the settings take it.
    """
    file = _written(tmp_path, _pem(P521))
    file.chmod(0)

    if os.access(file, os.R_OK):
        assert _load(file).upvest.enabled
    else:
        assert (f"{PREFIX}FILE: found permission denied, expected {EXPECTED}",) == _problems(file)


def test_the_key_itself_in_place_of_its_path_is_not_shown(tmp_path: Path) -> None:
    """
    The slip of a mounted secrets folder: a file named after the variable, with the key in it.
    """
    folder = tmp_path / "secrets"
    folder.mkdir()
    pem = _pem(P521).decode()
    (folder / f"{PREFIX}FILE").write_text(pem)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            environ={**UPVEST, "WORKER_SECRETS_DIR": str(folder)},
            dotenv=NO_DOTENV,
        )

    line = f"{PREFIX}FILE: found the text of a key, expected {EXPECTED}"
    assert (line,) == refused.value.problems


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize(
    ("locked", "given", "problem"),
    [
        (True, None, "missing, expected because the key file is encrypted"),
        (False, PASSPHRASE, "found one, expected none because the key file is not encrypted"),
        (True, "wrong-passphrase", _WRONG),
        (True, "x" * 5000, _WRONG),
    ],
    ids=["missing", "superfluous", "wrong", "long"],
)
def test_a_passphrase_that_does_not_fit_is_named(
    tmp_path: Path, form: PrivateFormat, locked: bool, given: str | None, problem: str
) -> None:
    """
    In both forms in which keys are encrypted, and never shown.
    """
    file = _written(tmp_path, _pem(P521, PASSPHRASE if locked else None, form=form))

    (line,) = _problems(file, given)
    assert f"{PREFIX}PASSPHRASE: {problem}" == line
    assert given is None or given not in line


def test_a_passphrase_needs_a_file() -> None:
    """
    Alone it is a slip, even where no credentials of Upvest's are given.
    """
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            environ={
                "WORKER_BLUUM__API_KEY": "key",
                "WORKER_BLUUM__API_SECRET": "secret",
                f"{PREFIX}PASSPHRASE": PASSPHRASE,
            },
            dotenv=NO_DOTENV,
        )

    line = f"{PREFIX}FILE: missing, expected together with {PREFIX}PASSPHRASE"
    assert (line,) == refused.value.problems


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CLIENT_ID", "found a text that is no UUID, expected the client's UUID"),
        (
            "KEY_ID",
            "found a text with spaces, quotes or other such characters, expected the key's id",
        ),
    ],
)
@pytest.mark.parametrize("value", ['client secret nobody "may" see', "ünï", "a\nb", "x" * 300])
def test_an_id_that_is_none_is_named_and_not_shown(
    tmp_path: Path, name: str, problem: str, value: str
) -> None:
    """
    It may be the secret, which stands beside it where both were copied from.
    """
    file = _written(tmp_path, _pem(P521))

    assert (f"WORKER_UPVEST__{name}: {problem}",) == _problems(
        file, **{f"WORKER_UPVEST__{name}": value}
    )


def test_commands_that_need_no_provider_read_no_key() -> None:
    """
    The job that migrates the ledger has the same environment, and no key mounted.
    """
    environ = {**UPVEST, f"{PREFIX}FILE": "/nonexistent/key.pem"}
    settings = load_settings(environ=environ, dotenv=NO_DOTENV, need_provider=False)

    assert settings.upvest.enabled


def test_a_problem_has_no_trace_of_what_it_was_made_from(tmp_path: Path) -> None:
    """
    The library's own words are not carried on: they may quote the content.
    """
    with pytest.raises(KeyUnfit) as unfit:
        read_signing_key(_written(tmp_path, _pem(P521)[:120]), None)

    assert unfit.value.__cause__ is None
    assert unfit.value.__suppress_context__


def _pem(
    key: PrivateKeyTypes,
    passphrase: str | None = None,
    *,
    form: PrivateFormat = PrivateFormat.PKCS8,
) -> bytes:
    lock = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, lock)


def _made_by_openssl(folder: Path, form: str) -> bytes:
    made = folder / "made.pem"
    _openssl("ecparam", "-genkey", "-name", "secp521r1", "-out", str(made))
    if form == "ecparam":
        return made.read_bytes()
    command = {"ec -aes256": ("ec", "-aes256"), "pkcs8": ("pkcs8", "-topk8")}[form]
    return _openssl(*command, "-in", str(made), "-passout", f"pass:{PASSPHRASE}")


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def _written(folder: Path, content: bytes) -> Path:
    file = folder / "key.pem"
    file.write_bytes(content)
    return file


def _public(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(file: Path, passphrase: str | None = None, **more: str) -> Settings:
    environ = {**UPVEST, f"{PREFIX}FILE": str(file), **more}
    if passphrase is not None:
        environ[f"{PREFIX}PASSPHRASE"] = passphrase
    return load_settings(environ=environ, dotenv=NO_DOTENV)


def _problems(file: Path, passphrase: str | None = None, **more: str) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        _load(file, passphrase, **more)
    assert not any(secret in str(refused.value) for secret in SECRETS)
    return refused.value.problems
