"""`python -m tests.image`: builds the image as the tests do, and prints what it weighs."""

from __future__ import annotations

import sys

from tests.image.building import NoBase, build
from tests.image.sizes import sizes, table
from tests.image.store import Store, cache_folder, why_not


def main() -> None:
    """Print the table; exit code 1 and a sentence where nothing can be built."""
    if (why := why_not()) is not None:
        sys.exit(why)
    store = Store(cache_folder())
    try:
        image = build(store)
    except NoBase as missing:
        sys.exit(str(missing))
    with store.mounted(image.name) as root:
        sys.stdout.write(f"{image.name}\n{table(sizes(root))}\n")


main()
