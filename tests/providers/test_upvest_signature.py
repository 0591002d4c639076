"""What is signed of a call to Upvest, and that others find our signatures good."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP521R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    MappingKeyResolver,
    algorithms,
)
from upvest_investment_api import UpvestHttpMessageSigner
from yarl import URL

from tests.providers.canned import Heard, Said, canned
from tests.providers.stages import FAST, PATIENT
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.providers.upvest_signature import (
    COVERED,
    LIFETIME,
    UpvestSignature,
    components_of,
    content_digest,
    signature_base,
    signature_params,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.providers.upvest_signature import SigningKey

KEY_ID: Final = "5f0c9d1e-0000-4000-8000-00000000k3y1"
CLIENT_ID: Final = "ebabcf4d-61c3-4942-875c-e265a7c2d062"
NOW: Final = datetime(2026, 3, 2, 9, 15, 4, 900_000, tzinfo=UTC)
P521: Final = generate_private_key(SECP521R1())
ED25519: Final = Ed25519PrivateKey.generate()
KEYS: Final = pytest.mark.parametrize("key", [P521, ED25519], ids=["P-521", "Ed25519"])


class _P521(HTTPSignatureAlgorithm):
    """ECDSA as Upvest has it, for the verifier: P-521, SHA-512, in DER."""

    algorithm_id = "ecdsa-p521-sha512"

    def __init__(self, public_key: EllipticCurvePublicKey) -> None:
        self.public_key = public_key

    def verify(self, signature: bytes, message: bytes) -> None:
        self.public_key.verify(signature, message, ECDSA(SHA512()))


def test_the_digest_is_that_of_the_documentation() -> None:
    """
    The check vector of the page on upgrading to draft 15.
    """
    body = b'{"key": "value"}'
    digest = (
        "sha-512=:Hd9/AvGZkbjitW1+Ml8Fg1ux1mtcDYe6mLQjDyoowIWa3LM/PmwN2v9O+MjtQGrCA3EQWUL54dlgxKHy"
        "Ybrucw==:"
    )

    assert 16 == len(body)
    assert digest == content_digest(body)


def test_the_base_is_written_line_by_line() -> None:
    """
    Names in quotes, one component a line, the parameters last, no line break at the end.
    """
    components = [("@method", "GET"), ("@path", "/x"), ("accept", "application/json")]
    params = signature_params(
        [name for name, _ in components], key_id="k-1", created=NOW, nonce="n-1"
    )

    written = '("@method" "@path" "accept");keyid="k-1";created=1772442904;expires=1772442964'
    assert f'{written};nonce="n-1"' == params
    assert (
        '"@method": GET\n"@path": /x\n"accept": application/json\n'
        f'"@signature-params": {written};nonce="n-1"'
    ).encode() == signature_base(components, params)


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "expected"),
    [
        ("GET", "/a", None, {}, ["@method", "@path", "accept", "authorization", *"iv"]),
        (
            "GET",
            "/a?b=1",
            None,
            {},
            ["@method", "@path", "@query", "accept", "authorization", *"iv"],
        ),
        (
            "POST",
            "/a",
            b"{}",
            {"Idempotency-Key": "k"},
            ["@method", "@path", "accept", "authorization", *"ltdkiv"],
        ),
        ("DELETE", "/a", None, {}, ["@method", "@path", "accept", "authorization", *"liv"]),
        ("POST", "/a", None, {}, ["@method", "@path", "accept", "authorization", *"liv"]),
        ("POST", "/a", b"x=1", {"Authorization": ""}, ["@method", "@path", "accept", *"ltdiv"]),
    ],
    ids=["read", "query", "create", "delete", "empty", "token"],
)
def test_each_kind_of_call_covers_what_it_carries(
    method: str, target: str, body: bytes | None, headers: dict[str, str], expected: list[str]
) -> None:
    """
    The documented components, and the version of the API; nothing that a proxy would change.
    """
    short = {
        "l": "content-length",
        "t": "content-type",
        "d": "content-digest",
        "k": "idempotency-key",
        "i": "upvest-client-id",
        "v": "upvest-api-version",
    }
    given = {"Accept": "application/json", "Authorization": "Bearer t", "User-Agent": "u"} | headers
    request = httpx.Request(
        method,
        f"https://api.example{target}",
        headers={name: value for name, value in given.items() if value},
        content=body,
    )
    _sign(request, P521)

    names = [name for name, _ in components_of(request)]
    assert [short.get(name, name) for name in expected] == names
    listed = re.findall(r'"([^"]+)"', request.headers["signature-input"].partition(")")[0])
    assert names == listed


def test_every_call_tells_client_and_versions() -> None:
    """
    The headers that no caller has to think of.
    """
    request = httpx.Request("POST", "https://api.example/a", content=b"{}")
    _sign(request, P521)

    assert CLIENT_ID == request.headers["upvest-client-id"]
    assert "1" == request.headers["upvest-api-version"]
    assert "15" == request.headers["upvest-signature-version"]
    assert "application/json" == request.headers["content-type"]


def test_each_attempt_has_a_nonce_and_times_of_its_own() -> None:
    """
    A request that is sent again is signed again, not repeated.
    """
    times = iter([NOW, NOW + timedelta(minutes=5)])
    nonces = (f"nonce-{number}" for number in count())
    auth = UpvestSignature(
        key=ED25519,
        key_id=KEY_ID,
        client_id=CLIENT_ID,
        now=lambda: next(times),
        nonce=lambda: next(nonces),
    )
    inputs = []
    for _ in range(2):
        request = httpx.Request("GET", "https://api.example/a")
        next(auth.auth_flow(request))
        inputs.append(request.headers["signature-input"].partition(";")[2])

    assert [
        f'keyid="{KEY_ID}";created={created};expires={created + 60};nonce="nonce-{number}"'
        for number, created in enumerate((1772442904, 1772443204))
    ] == inputs
    assert timedelta(seconds=60) == LIFETIME


@KEYS
async def test_others_find_good_what_leaves(key: SigningKey) -> None:
    """
    Verified over what a server received, by a library of others, with and without body and query.
    """
    async with canned(Said(200, {})) as server, _opened(server.base_url, key) as line:
        await line.exchange("look", "GET", "/withdrawals/1", headers=_BEARER)
        await line.exchange("list", "GET", "/w", query=_QUERY, headers=_BEARER)
        await line.exchange("create", "POST", "/w", body=b'{"a": "\xc3\xa9"}', headers=_BEARER)
        await line.exchange("cancel", "DELETE", "/w/1", headers=_BEARER)
        await line.exchange("keys", "POST", "/w/1/test")
        await line.exchange("token", "POST", "/auth/token", body=b"a=b", headers=_FORM)

    assert 6 == len(server.heard)
    for heard in server.heard:
        _verify(heard, server.base_url, key)


@KEYS
async def test_what_leaves_is_what_was_signed_in_any_form_of_address(key: SigningKey) -> None:
    """
    The transport writes some addresses anew; the signature is over what it wrote.
    """
    paths = ("/a%3Ab/%7Ec", "/%2F/%41/x%20y", "/a/../b/./c", "/%C3%A9/(1);'*'", "/a?")
    async with canned(Said(200, {})) as server, _opened(f"{server.base_url}/%76%2F1", key) as line:
        for path in paths:
            await line.exchange("look", "GET", path, headers=_BEARER)
            await line.exchange("look", "GET", path, query=_QUERY, headers=_BEARER)

    assert 2 * len(paths) == len(server.heard)
    assert "/v1/v%2F1/a:b/~c" == server.heard[0].path
    for heard in server.heard:
        _verify(heard, server.base_url, key)


@KEYS
@pytest.mark.parametrize("changed", ["path", "method", "body", "Authorization", "Idempotency-Key"])
async def test_whatever_is_changed_on_the_way_is_noticed(key: SigningKey, changed: str) -> None:
    """
    No part of a payout can be another's.
    """
    headers = _BEARER | {"Idempotency-Key": "k-1"}
    async with canned(Said(200, {})) as server, _opened(server.base_url, key) as line:
        await line.exchange("create", "POST", "/w", body=b'{"amount":"1.00"}', headers=headers)
    (heard,) = server.heard
    _verify(heard, server.base_url, key)
    forged = {
        "path": Heard(heard.method, "/v1/x", heard.headers, heard.body),
        "method": Heard("PUT", heard.path, heard.headers, heard.body),
        "body": Heard(heard.method, heard.path, heard.headers, b'{"amount":"9.00"}'),
    }.get(
        changed,
        Heard(heard.method, heard.path, {**dict(heard.headers), changed: "other"}, heard.body),
    )

    with pytest.raises(HTTPMessageSignaturesException):
        _verify(forged, server.base_url, key)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/payments/withdrawals/1", None),
        ("GET", "/account_groups/1/payments/withdrawals?limit=100&offset=0", None),
        ("POST", "/payments/withdrawals", b'{"amount":"75.50"}'),
        ("DELETE", "/payments/withdrawals/1", None),
        ("POST", "/auth/token", b"grant_type=client_credentials"),
    ],
)
def test_upvests_own_library_signs_the_same(method: str, target: str, body: bytes | None) -> None:
    """
    The same lines for the same request, but for `date`, which it sends and we do not.
    """
    address = f"https://api.example{target}"
    headers = {"Accept": "application/json", "User-Agent": "u", "Idempotency-Key": "k-1"}
    headers |= {} if target == "/auth/token" else {"Authorization": "Bearer t"}
    # What `requests` sets before the library is asked, as the transport does for us.
    headers |= {"Content-Type": "application/json"} if body else {}
    length = {"Content-Length": "0"} if method == "DELETE" else {}
    ours = httpx.Request(method, address, headers=headers, content=body)
    _sign(ours, P521)
    pem = P521.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
    )
    signer = UpvestHttpMessageSigner(
        private_key_pem=pem,
        private_key_passphrase=b"secret",
        key_id=KEY_ID,
        client_id=CLIENT_ID,
    )
    _, _, added, _, base = signer.sign_request(
        method=method, url=address, headers_in=headers | length, body=body
    )

    theirs = set(base.decode().splitlines()[:-1])
    dated = {line for line in theirs if line.startswith('"date": ')}
    assert 1 == len(dated)
    assert theirs - dated == {f'"{name}": {value}' for name, value in components_of(ours)}
    sent = {name: str(value) for name, value in added.items() if name not in _OF_THIS_SIGNATURE}
    assert sent == {name: ours.headers[name] for name in sent}
    # And their signature is good by the same key and form as ours.
    found = str(added["signature"]).removeprefix("sig1=:").removesuffix(":")
    P521.public_key().verify(b64decode(found), base, ECDSA(SHA512()))


def test_no_secret_in_repr() -> None:
    """
    Neither the key nor its id is shown by what holds them.
    """
    assert KEY_ID not in repr(_auth(P521))


_OF_THIS_SIGNATURE: Final = frozenset({"date", "signature", "signature-input"})
_BEARER: Final = {"Authorization": "Bearer opaque.token"}
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_QUERY: Final = {"b": "1 2+:/~é", "a": "&=%"}


def _auth(
    key: SigningKey, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> UpvestSignature:
    return UpvestSignature(
        key=key, key_id=KEY_ID, client_id=CLIENT_ID, now=now, nonce=lambda: "nonce-1"
    )


def _sign(request: httpx.Request, key: SigningKey) -> None:
    next(_auth(key).auth_flow(request))


def _opened(base_url: str, key: SigningKey) -> Line:
    return Line(
        base_url,
        auth=_auth(key),
        pace=Pace(Alone(FAST).reserve, waited=lambda *_: None),
        timeout=PATIENT,
        observe=lambda *_: None,
    )


def _verify(heard: Heard, base_url: str, key: SigningKey) -> None:
    """Verify a request as it arrived; every component that has to be covered is."""
    is_ec = isinstance(key, EllipticCurvePrivateKey)
    verifier = HTTPMessageVerifier(
        signature_algorithm=_P521 if is_ec else algorithms.ED25519,
        key_resolver=MappingKeyResolver(public_keys={KEY_ID: key.public_key()}, private_keys={}),
    )
    (result,) = verifier.verify(
        _AsHeard(heard, base_url),
        max_age=LIFETIME,
        body=heard.body or None,
        require_components=("@method", "@path", "accept", "upvest-client-id"),
    )
    covered = {name.strip('"') for name in result.covered_components}
    assert {name.lower() for name in heard.headers} & set(COVERED) <= covered
    assert ("?" in heard.path) == ("@query" in covered)
    assert "nonce-1" == result.nonce


class _AsHeard:
    """A request as it arrived, for the verifier: address and headers exactly as on the wire."""

    def __init__(self, heard: Heard, base_url: str) -> None:
        self.method = heard.method
        self.url = str(URL(base_url).origin()) + heard.path
        self.headers = dict(heard.headers)
