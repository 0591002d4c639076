"""The example file that operators copy."""

from pathlib import Path

from config import example
from config.example import example_env
from config.loading import load_settings
from config.settings import Settings
from config.variables import SECRETS_DIR, variables

FILE = Path(example.__file__).with_name("example.env")


def test_the_file_is_what_the_settings_say() -> None:
    """
    `make example-env` was run after the last change of a setting.
    """
    assert example_env() == FILE.read_text("utf-8")


def test_every_variable_stands_in_it_once() -> None:
    """
    There is no setting that an operator could not find.
    """
    lines = example_env().splitlines()
    found = [line[2:].partition("=")[0] for line in lines if line.startswith("# WORKER_")]

    assert [SECRETS_DIR, *(name for name, _ in variables(Settings))] == found


def test_a_plain_copy_changes_nothing(tmp_path: Path) -> None:
    """
    Copied, with every line brought to life, it yields the defaults.
    """
    lines = [line[2:] for line in example_env().splitlines() if line.startswith("# WORKER_")]
    (tmp_path / ".env").write_text("\n".join(lines))

    defaults = load_settings(environ={}, dotenv=tmp_path / "missing", need_provider=False)

    assert defaults == load_settings(environ={}, dotenv=tmp_path / ".env", need_provider=False)
