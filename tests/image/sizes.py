"""What the image weighs, by folder. Looks at files only; a link counts once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

_MEGABYTE: Final = 1_000_000
#: Folders that are shown by what is in them.
_SPLIT: Final = frozenset(
    {"opt", "opt/venv", "opt/venv/lib", "usr", "usr/lib"}
    | {"opt/venv/lib/python3.13", "opt/venv/lib/python3.13/site-packages"}
)
#: Lighter ones are not shown alone.
_SHOWN_MIN: Final = 2 * _MEGABYTE


def sizes(root: Path) -> Counter[str]:
    """Return the bytes of all regular files below a root, by folder."""
    told: Counter[str] = Counter()
    seen: set[int] = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink() or not path.is_file() or status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            told[_told_under(path.relative_to(root))] += status.st_size
    return told


def table(told: Counter[str]) -> str:
    """Return the sizes as lines, the heaviest first, in megabytes."""
    shown = [(name, size) for name, size in told.most_common() if size >= _SHOWN_MIN]
    rest = told.total() - sum(size for _, size in shown)
    rows = [*shown, ("all else", rest), ("together", told.total())]
    return "\n".join(f"{size / _MEGABYTE:8.1f} MB  {name}" for name, size in rows)


def _told_under(path: Path) -> str:
    folder = Path()
    for part in path.parts[:-1]:
        folder /= part
        if str(folder) not in _SPLIT:
            break
    return f"/{folder}"
