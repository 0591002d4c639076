"""What all groups of settings have in common: what is read stays as it is, and typos are refused.

No setting stands here."""

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings that belong together. An error of theirs never repeats what was put in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
