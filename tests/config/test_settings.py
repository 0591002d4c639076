"""Settings: what an operator gets for what they wrote, and what they are told when it cannot be."""

from datetime import timedelta
from pathlib import Path

import pytest

from config.loading import SettingsInvalid, load_settings
from config.settings import Settings
from config.variables import variables

NO_DOTENV = Path("/nonexistent/.env")
PASSWORD = "hunter2-hunter2"
BASE_URL = "https://host/path without user, query or fragment (http only for loopback)"
BEHIND = "there is an @ behind the host: a / ? or # in the password, not encoded"
FOLDER = "a folder with one file for each variable"
CREDENTIALS = {"WORKER_BLUUM__API_KEY": "key", "WORKER_BLUUM__API_SECRET": PASSWORD}


def test_credentials_are_all_that_is_needed() -> None:
    """
    Everything but the credentials has a default.
    """
    settings = load_settings(environ=CREDENTIALS, dotenv=NO_DOTENV)

    assert settings.bluum.enabled
    assert settings.bluum.api_secret is not None
    assert PASSWORD == settings.bluum.api_secret.get_secret_value()


def test_every_default_is_the_documented_one() -> None:
    """
    The defaults are part of the contract.
    """
    settings = _load()

    assert "amqp://guest:guest@localhost:5672/" == settings.rabbitmq.url.get_secret_value()
    assert "sqlite:///withdrawals.db" == settings.ledger.url.get_secret_value()
    assert "https://api.bluumfinance.com/v1" == settings.bluum.base_url
    assert "bluum" == settings.default_provider
    assert 25 == settings.bluum.rate_limit
    assert timedelta(hours=23) == settings.bluum.idempotency_window
    assert timedelta(seconds=15) == settings.polling.first_delay
    assert timedelta(minutes=30) == settings.polling.cap
    assert timedelta(seconds=0.5) == settings.retry.first_delay
    assert timedelta(seconds=25) == settings.shutdown_timeout
    assert 8080 == settings.http.port
    assert 8081 == settings.webhooks.port
    assert "X-Bluum-Signature" == settings.bluum.webhook.header
    assert ("sha256", "hex") == (settings.bluum.webhook.algorithm, settings.bluum.webhook.encoding)
    assert "body" == settings.bluum.webhook.signed_content
    assert not settings.bluum.webhook.allow_unsigned


def test_every_variable_reaches_its_field() -> None:
    """
    Each level of the tree is named in the variable, two underscores between levels.
    """
    settings = _load(
        WORKER_RABBITMQ__URL="amqps://me:pw@broker/payouts",
        WORKER_RABBITMQ__DECLARE="no",
        WORKER_LEDGER__URL="postgresql://me:pw@db/ledger",
        WORKER_BLUUM__BASE_URL="http://127.0.0.1:9000/v1/",
        WORKER_POLLING__CAP="PT1H",
        WORKER_LOG_LEVEL="debug",
        WORKER_LOG_FORMAT="console",
    )

    assert "amqps://me:pw@broker/payouts" == settings.rabbitmq.url.get_secret_value()
    assert settings.rabbitmq.declare is False
    assert "postgresql://me:pw@db/ledger" == settings.ledger.url.get_secret_value()
    assert "http://127.0.0.1:9000/v1" == settings.bluum.base_url
    assert timedelta(hours=1) == settings.polling.cap
    assert "DEBUG" == settings.log_level
    assert "console" == settings.log_format


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("RABBITMQ__PREFETCH", "0", "found '0', expected a whole number from 1 to 250"),
        ("RABBITMQ__PREFETCH", "many", "found 'many', expected a whole number from 1 to 250"),
        ("RABBITMQ__DECLARE", "perhaps", "found 'perhaps', expected true or false"),
        (
            "RABBITMQ__HEARTBEAT",
            "0.5",
            "found '0.5', expected a duration in seconds or ISO 8601 from 1 to PT5M",
        ),
        ("BLUUM__RATE_LIMIT", "nan", "found 'nan', expected a number above 0 to 10000"),
        (
            "BLUUM__IDEMPOTENCY_WINDOW",
            "PT23H31M",
            "found 'PT23H31M', expected a duration in seconds or ISO 8601 above 0 to PT23H30M",
        ),
        (
            "BLUUM__BASE_URL",
            "http://api.bluumfinance.com",
            f"found 'http://api.bluumfinance.com', expected {BASE_URL}",
        ),
        ("POLLING__JITTER", "0.6", "found '0.6', expected a number from 0 to 0.5"),
        (
            "POLLING__CAP",
            "1",
            "found 1, expected at least WORKER_POLLING__FIRST_DELAY, which is 15",
        ),
        (
            "RETRY__CAP",
            "0.1",
            "found 0.1, expected at least WORKER_RETRY__FIRST_DELAY, which is 0.5",
        ),
        ("RETRY__ATTEMPTS", "11", "found '11', expected a whole number from 1 to 10"),
        ("HTTP__PORT", "65536", "found '65536', expected a whole number from 0 to 65535"),
        (
            "BLUUM__WEBHOOK__HEADER",
            "X Signature",
            "found 'X Signature', expected the name of an HTTP header",
        ),
        ("BLUUM__WEBHOOK__ALGORITHM", "md5", "found 'md5', expected sha256 or sha512"),
        (
            "BLUUM__WEBHOOK__SIGNED_CONTENT",
            "url",
            "found 'url', expected body or timestamp.body",
        ),
        (
            "BLUUM__BASE_URL",
            "http://192.0.2.1/v1",
            f"found 'http://192.0.2.1/v1', expected {BASE_URL}",
        ),
        (
            "DEFAULT_PROVIDER",
            "alpaca",
            "found 'alpaca', expected bluum or bluum_accounts or upvest",
        ),
        ("LOG_LEVEL", "loud", "found 'loud', expected DEBUG or INFO or WARNING or ERROR"),
        ("LOG_FORMAT", "xml", "found 'xml', expected json or console"),
        ("RABITMQ__URL", "x", "unknown variable, did you mean WORKER_RABBITMQ__URL?"),
        ("HTTP_PORT", "8080", "unknown variable, did you mean WORKER_HTTP__PORT?"),
        ("log_level", "INFO", "unknown variable, did you mean WORKER_LOG_LEVEL?"),
        ("BLUUM", "{}", "unknown variable, did you mean WORKER_BLUUM__TIMEOUT?"),
        ("QQQQQQQQQQQQQQQQ", "x", "unknown variable, expected one of config/example.env"),
    ],
)
def test_each_problem_is_one_line_with_found_and_expected(
    name: str, value: str, problem: str
) -> None:
    """
    The line names the variable, what was found and what was expected.
    """
    assert (f"WORKER_{name}: {problem}",) == _problems(**{f"WORKER_{name}": value})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("RABBITMQ__URL", f"http://me:{PASSWORD}@broker/", "the scheme is neither amqp nor amqps"),
        ("RABBITMQ__URL", f"amqp:me:{PASSWORD}", "no host is named"),
        ("RABBITMQ__URL", f"amqp://me:{PASSWORD}/x@broker/", "host or port cannot be read"),
        ("RABBITMQ__URL", f"amqp://[{PASSWORD}", "host or port cannot be read"),
        (
            "LEDGER__URL",
            f"mysql://me:{PASSWORD}@db/x",
            "the scheme is neither sqlite nor postgresql",
        ),
        ("LEDGER__URL", f"postgresql://me:{PASSWORD}@db", "no database is named"),
        ("LEDGER__URL", f"postgresql:{PASSWORD}", "no database is named"),
        ("LEDGER__URL", f"postgresql://me:12/{PASSWORD}@db/ledger", BEHIND),
        ("RABBITMQ__URL", f"amqp://me:12/{PASSWORD}@broker/", BEHIND),
        ("RABBITMQ__URL", f"amqp://me:12?{PASSWORD}@broker/", BEHIND),
        ("RABBITMQ__URL", f"amqp://me:12#{PASSWORD}@broker/", BEHIND),
        ("LEDGER__URL", "sqlite:////x.db?mode=memory", "there is more than a path"),
        ("LEDGER__URL", "sqlite://", "no file is named"),
        ("LEDGER__URL", "sqlite:///:memory:", "no file is named"),
    ],
)
def test_a_problem_with_a_secret_does_not_show_it(name: str, value: str, problem: str) -> None:
    """
    An address may hold a password: its problem says what is wrong in words of our own.
    """
    (line,) = _problems(**{f"WORKER_{name}": value})

    assert line.startswith(f"WORKER_{name}: {problem}, expected ")
    assert PASSWORD not in line


def test_what_a_webhook_needs_beside_its_settings_is_named() -> None:
    """
    A previous secret goes with a present one, a signed time with a header that carries it.
    """
    prefix = "WORKER_BLUUM__WEBHOOK__"
    problems = _problems(
        WORKER_BLUUM__WEBHOOK__PREVIOUS_SECRET=PASSWORD,
        WORKER_BLUUM__WEBHOOK__SIGNED_CONTENT="timestamp.body",
    )

    together = "missing, expected together with"
    assert (
        f"{prefix}SECRET: {together} {prefix}PREVIOUS_SECRET",
        f"{prefix}TIMESTAMP_HEADER: {together} {prefix}SIGNED_CONTENT, which is timestamp.body",
    ) == problems


def test_a_shared_ledger_is_no_file() -> None:
    """
    Workers with a file each would not know what the others have paid.
    """
    shared = {**CREDENTIALS, "WORKER_LEDGER__SHARED": "true"}
    url = "postgresql://me:pw@db/ledger"

    expected = "postgresql://user:password@host/database together with WORKER_LEDGER__SHARED"
    assert (f"WORKER_LEDGER__URL: found a SQLite file, expected {expected}",) == _problems(**shared)
    assert _load(**shared, WORKER_LEDGER__URL=url).ledger.shared


def test_sources_that_are_none_are_named() -> None:
    """
    Each of them, by what stands there; addresses, networks and spaces between them are fine.
    """
    name = "WORKER_UPVEST__WEBHOOK__SOURCES"
    expected = "expected an address or a network such as 192.0.2.0/24"
    fine = "34.90.198.99, 192.0.2.0/24,,2001:db8::/32 "

    assert fine == _load(**CREDENTIALS, **{name: fine}).upvest.webhook.sources
    assert (
        f"{name}: found '192.0.2.1/24', {expected}",
        f"{name}: found 'upvest.co', {expected}",
    ) == _problems(**{name: f"192.0.2.1/24,{fine},upvest.co"})


@pytest.mark.parametrize("path", ["webhooks", "/a?b", "/ä", "/a b", "/" + "x" * 256])
def test_a_path_is_one_that_a_request_can_have(path: str) -> None:
    """
    With a slash in front, without a query.
    """
    (line,) = _problems(WORKER_UPVEST__WEBHOOK__PATH=path)

    assert line.startswith("WORKER_UPVEST__WEBHOOK__PATH: found ")
    assert line.endswith("expected a path such as /webhooks/upvest")


@pytest.mark.parametrize(
    ("webhook", "enabled"),
    [
        ({}, False),
        ({"WORKER_BLUUM__WEBHOOK__SECRET": PASSWORD}, True),
        ({"WORKER_BLUUM__WEBHOOK__ALLOW_UNSIGNED": "true"}, True),
    ],
)
def test_webhooks_are_taken_where_they_can_be_verified(
    webhook: dict[str, str], enabled: bool
) -> None:
    """
    With a secret, or where it was said that none is needed; never by default.
    """
    assert enabled == _load(**webhook).bluum.webhook.enabled


@pytest.mark.parametrize(
    "url",
    [f"https://me:{PASSWORD}@host/v1", f"http://me:{PASSWORD}@[::1]/v1", "https://host/?a=b"],
)
def test_credentials_do_not_belong_into_a_base_url(url: str) -> None:
    """
    A base URL is shown freely, so nothing secret is taken in it, nor shown when it is refused.
    """
    (line,) = _problems(WORKER_BLUUM__BASE_URL=url)

    assert line.startswith("WORKER_BLUUM__BASE_URL: found ")
    assert PASSWORD not in line


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:9000"])
def test_a_stand_in_on_this_machine_needs_no_tls(host: str) -> None:
    """
    Plain http stays possible where no wire is.
    """
    assert f"http://{host}/v1" == _load(WORKER_BLUUM__BASE_URL=f"http://{host}/v1").bluum.base_url


def test_a_long_value_is_cut() -> None:
    """
    A file pasted by mistake does not fill the screen.
    """
    (line,) = _problems(WORKER_HTTP__PORT="9" * 10_000)

    assert 200 > len(line)


def test_every_problem_is_told_at_once() -> None:
    """
    Nobody has to start five times to learn of five mistakes.
    """
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            environ={
                "WORKER_BLUUM__API_KEY": "key",
                "WORKER_HTTP__PORT": "x",
                "WORKER_PREFETCH": "5",
                "WORKER_SECRETS_DIR": "/nonexistent",
            },
            dotenv=NO_DOTENV,
        )

    assert (
        f"WORKER_SECRETS_DIR: no such file or directory, expected {FOLDER}",
        "WORKER_PREFETCH: unknown variable, did you mean WORKER_RABBITMQ__PREFETCH?",
        "WORKER_BLUUM__API_SECRET: missing, expected together with WORKER_BLUUM__API_KEY",
        "WORKER_HTTP__PORT: found 'x', expected a whole number from 0 to 65535",
    ) == refused.value.problems
    assert "\n".join(refused.value.problems) == str(refused.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("API_KEY", "API_SECRET"), ("API_SECRET", "API_KEY")],
)
@pytest.mark.parametrize("need_provider", [True, False])
def test_half_of_the_credentials_are_a_problem(
    given: str, missing: str, need_provider: bool
) -> None:
    """
    One credential without the other is a slip, whatever is about to be done.
    """
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(
            environ={f"WORKER_BLUUM__{given}": PASSWORD},
            dotenv=NO_DOTENV,
            need_provider=need_provider,
        )

    assert (
        f"WORKER_BLUUM__{missing}: missing, expected together with WORKER_BLUUM__{given}",
    ) == refused.value.problems


def test_without_any_provider_the_variables_to_set_are_named() -> None:
    """
    Who starts without credentials learns their names.
    """
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(environ={}, dotenv=NO_DOTENV)

    (line,) = refused.value.problems
    expected = (
        "WORKER_BLUUM__API_KEY and WORKER_BLUUM__API_SECRET"
        " or WORKER_BLUUM_ACCOUNTS__API_KEY and WORKER_BLUUM_ACCOUNTS__API_SECRET"
        " or WORKER_UPVEST__CLIENT_ID and WORKER_UPVEST__CLIENT_SECRET"
        " and WORKER_UPVEST__KEY_ID and WORKER_UPVEST__PRIVATE_KEY_FILE"
    )
    assert f"WORKER_BLUUM__API_KEY: no provider is enabled, expected {expected}" == line


def test_some_commands_need_no_provider() -> None:
    """
    Whoever only reads or migrates the ledger needs no credentials.
    """
    settings = load_settings(environ={}, dotenv=NO_DOTENV, need_provider=False)

    assert not settings.bluum.enabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_SERVICE_HOST", "10.0.0.1"),
        ("WORKER_SERVICE_PORT", "8080"),
        ("WORKER_SERVICE_PORT_HTTP", "8080"),
        ("WORKER_PORT", "tcp://10.0.0.1:8080"),
        ("WORKER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("WORKER_PORT_8080_TCP_PROTO", "tcp"),
        ("WORKER_PORT_8080_TCP_PORT", "8080"),
        ("WORKER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("WORKER_METRICS_SERVICE_HOST", "10.0.0.1"),
        ("WORKER_METRICS_PORT", "tcp://10.0.0.1:8080"),
    ],
)
def test_what_kubernetes_sets_for_a_service_is_passed_over(name: str, value: str) -> None:
    """
    A service called `worker` next door is no mistake of the operator.
    """
    assert _load() == _load(**{name: value})


def test_an_empty_value_counts_as_not_set() -> None:
    """
    Compose files and charts write an empty text where there is nothing to say.
    """
    assert _load() == _load(WORKER_HTTP__PORT="", WORKER_BLUUM__BASE_URL="")


def test_no_secret_in_repr() -> None:
    """
    Settings can be logged whole.
    """
    settings = _load(
        WORKER_RABBITMQ__URL=f"amqp://me:{PASSWORD}@broker/",
        WORKER_LEDGER__URL=f"postgresql://me:{PASSWORD}@db/ledger",
        WORKER_BLUUM__WEBHOOK__SECRET=PASSWORD,
        WORKER_BLUUM__WEBHOOK__PREVIOUS_SECRET=PASSWORD,
        **CREDENTIALS,
    )

    assert PASSWORD not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_made_by_hand_look_nowhere() -> None:
    """
    Only `load_settings` reads the environment.
    """
    settings = Settings(http={"port": 1})

    assert 1 == settings.http.port


def test_every_setting_is_described() -> None:
    """
    No setting without a sentence on what it does.
    """
    assert [] == [name for name, field in variables(Settings) if not field.description]


def _load(**environ: str) -> Settings:
    return load_settings(environ=environ, dotenv=NO_DOTENV, need_provider=False)


def _problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        _load(**environ)
    return refused.value.problems
