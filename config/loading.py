"""How the settings are loaded: from the surroundings into the tree, or every problem at once.

What is a setting is not said here. No singleton and no reading at import: who needs settings is
handed them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from config.contradictions import contradictions, unfit_key
from config.problems import incomplete_credentials, unfit_values, unknown_names
from config.providers import CREDENTIALS
from config.settings import Settings
from config.sources import gather
from config.variables import SECRETS_DIR, variables


class SettingsInvalid(Exception):  # noqa: N818 - named by what is wrong, as every outcome here
    """The settings cannot be used. `problems` says why, one line a problem, no secret in any."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = Path(".env"),
    need_provider: bool = True,
) -> Settings:
    """
    The settings from environment, secret files and `.env`; the earlier of these wins.

    Raises SettingsInvalid with every problem found, not only the first.
    """
    values, problems = gather(os.environ if environ is None else environ, dotenv)
    fields = dict(variables(Settings))
    # What is there and cannot be read is not missing as well.
    unread = dict.fromkeys((problem.partition(":")[0] for problem in problems), "")
    problems += unknown_names(values, fields)
    incomplete = incomplete_credentials(CREDENTIALS.values(), values)
    problems += (line for line in incomplete if line.partition(":")[0] not in unread)
    if need_provider:
        problems += _missing_provider(values | unread)
    settings = _parse({name: values[name] for name in fields if name in values}, problems)
    if settings is not None and need_provider:
        problems += unfit_key(settings.upvest)
    if settings is None or problems:
        raise SettingsInvalid(tuple(problems))
    return settings


def _missing_provider(values: Mapping[str, str]) -> Iterator[str]:
    names = [name for credentials in CREDENTIALS.values() for name in credentials]
    if not any(name in values for name in names):
        choices = " or ".join(" and ".join(credentials) for credentials in CREDENTIALS.values())
        folder = values.get(SECRETS_DIR)
        hint = f"; in {folder} is no file of such a name, or nothing is in it" if folder else ""
        yield f"{names[0]}: no provider is enabled, expected {choices}{hint}"


def _parse(values: Mapping[str, str], problems: list[str]) -> Settings | None:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in values.items()}
    try:
        settings = Settings(**source())
    except ValidationError as error:
        problems += unfit_values(error, dict(variables(Settings)), values)
        return None
    problems += contradictions(settings)
    return settings
