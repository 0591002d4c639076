"""Where settings come from, and which place wins."""

import os
from pathlib import Path

import pytest

from config.loading import SettingsInvalid, load_settings
from config.settings import Settings
from config.sources import SECRET_BYTES_MAX

SECRET = "WORKER_BLUUM__API_SECRET"
EXPECTED_FILE = "expected a readable text file of at most 64 KiB"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder for secret files, empty."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


def test_the_environment_wins_over_files_and_files_over_dotenv(
    tmp_path: Path, secrets: Path
) -> None:
    """
    The nearer to the process, the stronger.
    """
    (tmp_path / ".env").write_text(
        "WORKER_HTTP__PORT=1\nWORKER_RETRY__ATTEMPTS=1\nWORKER_RABBITMQ__PREFETCH=1\n"
    )
    (secrets / "WORKER_HTTP__PORT").write_text("2")
    (secrets / "WORKER_RETRY__ATTEMPTS").write_text("2")

    settings = _load(tmp_path, secrets, WORKER_HTTP__PORT="3")

    assert (3, 2, 1) == (settings.http.port, settings.retry.attempts, settings.rabbitmq.prefetch)


def test_an_empty_variable_does_not_hide_a_file(tmp_path: Path, secrets: Path) -> None:
    """
    Empty means not set, so the next place is asked.
    """
    (secrets / "WORKER_HTTP__PORT").write_text("2")

    assert 2 == _load(tmp_path, secrets, WORKER_HTTP__PORT="").http.port


@pytest.mark.parametrize("name", [SECRET, "WORKER_UPVEST__PRIVATE_KEY_PASSPHRASE"])
def test_what_is_not_utf8_in_the_environment_is_named(
    tmp_path: Path, secrets: Path, name: str
) -> None:
    """
    Python lets such bytes through as halves of characters, which nobody can send or hash.
    """
    with pytest.raises(SettingsInvalid) as caught:
        _load(tmp_path, secrets, **{name: os.fsdecode(b"top\xffsecret")})

    assert f"{name}: the text is not UTF-8, expected one that is" in caught.value.problems
    assert "secret" not in str(caught.value).replace("SECRET", "")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["none", "unix", "windows"])
def test_the_line_end_of_a_secret_file_is_no_part_of_the_secret(
    tmp_path: Path, secrets: Path, end: str
) -> None:
    """
    Editors end a file with a line end; spaces inside belong to the secret.
    """
    (secrets / "WORKER_BLUUM__API_KEY").write_text("key")
    (secrets / SECRET).write_bytes(f" pass word{end}".encode())

    settings = _load(tmp_path, secrets)

    assert settings.bluum.api_secret is not None
    assert " pass word" == settings.bluum.api_secret.get_secret_value()


def test_a_mounted_kubernetes_secret_is_read(tmp_path: Path, secrets: Path) -> None:
    """
    There the files are links into a hidden folder, and other files may lie beside them.
    """
    (secrets / "..data").mkdir()
    (secrets / "..data" / "WORKER_HTTP__PORT").write_text("2")
    (secrets / "WORKER_HTTP__PORT").symlink_to("..data/WORKER_HTTP__PORT")
    (secrets / "ca.crt").write_text("of no concern")

    assert 2 == _load(tmp_path, secrets).http.port


def test_the_folder_may_be_named_in_dotenv(tmp_path: Path, secrets: Path) -> None:
    """
    The folder's own name is a variable like any other.
    """
    (tmp_path / ".env").write_text(f"WORKER_SECRETS_DIR={secrets}\n")
    (secrets / "WORKER_HTTP__PORT").write_text("2")

    settings = load_settings(environ={}, dotenv=tmp_path / ".env", need_provider=False)

    assert 2 == settings.http.port


def test_a_file_that_is_no_setting_is_a_problem(tmp_path: Path, secrets: Path) -> None:
    """
    A misspelt file name is found like a misspelt variable, and its content stays unsaid.
    """
    (secrets / "WORKER_BLUUM__APISECRET").write_text("hunter2")

    assert (f"WORKER_BLUUM__APISECRET: unknown variable, did you mean {SECRET}?",) == _problems(
        tmp_path, secrets
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x" * (SECRET_BYTES_MAX + 1), "the file is too long"),
        (b"hunter2 \xff", "the file is not UTF-8"),
    ],
    ids=["too long", "not text"],
)
def test_an_unreadable_secret_is_named(
    tmp_path: Path, secrets: Path, content: bytes, why: str
) -> None:
    """
    The problem names the file, not what is in it.
    """
    (secrets / SECRET).write_bytes(content)

    assert (f"{SECRET}: {why}, {EXPECTED_FILE}",) == _problems(tmp_path, secrets)


def test_a_folder_in_place_of_a_secret_is_named(tmp_path: Path, secrets: Path) -> None:
    """
    Docker makes a folder where a file to mount was missing.
    """
    (secrets / SECRET).mkdir()

    assert (f"{SECRET}: is a directory, {EXPECTED_FILE}",) == _problems(tmp_path, secrets)


def test_what_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path, secrets: Path) -> None:
    """
    One line for one file, although its partner is there.
    """
    (secrets / SECRET).mkdir()
    key = {SECRET.replace("SECRET", "KEY"): "key"}

    with pytest.raises(SettingsInvalid) as refused:
        _load(tmp_path, secrets, **key)

    assert (f"{SECRET}: is a directory, {EXPECTED_FILE}",) == refused.value.problems


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """
    A secret mount that is not there must not pass for "no secrets".
    """
    (line,) = _problems(tmp_path, tmp_path / "missing")

    assert line.startswith("WORKER_SECRETS_DIR: no such file or directory, expected a folder")


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["no file", "empty", "a line end"])
def test_a_mount_without_credentials_is_named(
    tmp_path: Path, secrets: Path, content: str | None
) -> None:
    """
    Keys of other names, or none: the one line says in which folder they were looked for.
    """
    (secrets / "api-key").write_text("key")
    if content is not None:
        (secrets / "WORKER_BLUUM__API_KEY").write_text(content)

    with pytest.raises(SettingsInvalid) as refused:
        load_settings(environ={"WORKER_SECRETS_DIR": str(secrets)}, dotenv=tmp_path / ".env")

    (line,) = refused.value.problems
    assert line.startswith("WORKER_BLUUM__API_KEY: no provider is enabled, expected ")
    assert line.endswith(f"; in {secrets} is no file of such a name, or nothing is in it")


def test_dotenv_is_taken_as_it_is_written(tmp_path: Path) -> None:
    """
    A dollar sign in a password is no variable, and other programs' variables are passed over.
    """
    (tmp_path / ".env").write_text(
        "export WORKER_RABBITMQ__URL='amqp://me:pa${HOME}@broker/'\nPGHOST=db  # theirs\n"
    )

    settings = load_settings(environ={}, dotenv=tmp_path / ".env", need_provider=False)

    assert "amqp://me:pa${HOME}@broker/" == settings.rabbitmq.url.get_secret_value()


def test_an_unreadable_dotenv_is_named(tmp_path: Path) -> None:
    """
    A file that is there and says nothing readable is a problem, not an absence.
    """
    (tmp_path / ".env").write_bytes(b"WORKER_HTTP__PORT=\xff")

    with pytest.raises(SettingsInvalid) as refused:
        load_settings(environ={}, dotenv=tmp_path / ".env", need_provider=False)

    assert (".env: the file is not UTF-8, expected a readable text file",) == refused.value.problems


def test_a_dotenv_that_may_not_be_looked_at_is_not_there(tmp_path: Path) -> None:
    """
    A container may run in a folder that its user cannot enter: a name too long is refused alike.

    Root enters every folder, and tests may be run by root.
    """
    dotenv = tmp_path / ("e" * 300) / ".env"

    settings = load_settings(environ={"WORKER_HTTP__PORT": "2"}, dotenv=dotenv, need_provider=False)

    assert 2 == settings.http.port


def test_the_process_environment_is_the_default(tmp_path: Path) -> None:
    """
    Without an argument the real environment is read; that of a test run sets nothing of ours.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith("WORKER_")}

    assert load_settings(
        environ=ours, dotenv=tmp_path / ".env", need_provider=False
    ) == load_settings(dotenv=tmp_path / ".env", need_provider=False)


def _load(tmp_path: Path, secrets: Path, **environ: str) -> Settings:
    return load_settings(
        environ={"WORKER_SECRETS_DIR": str(secrets), **environ},
        dotenv=tmp_path / ".env",
        need_provider=False,
    )


def _problems(tmp_path: Path, secrets: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        _load(tmp_path, secrets)
    return refused.value.problems
