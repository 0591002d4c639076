"""What a command imports: that is most of what the start of a worker takes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT: Final = """
import sys
from worker.cli.main import main

sys.argv[1:] = ["run"]
try:
    main()
finally:
    print(*sys.modules)
"""


def test_a_worker_imports_no_other_command(tmp_path: Path) -> None:
    """
    Neither the demo nor the simulators, and alembic only where a step is missing.
    """
    # Without settings it ends before it does anything.
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(done.stdout.split())

    assert 2 == done.returncode, done.stderr
    assert {"worker.app", "worker.cli.run", "sqlalchemy"} <= imported
    assert set() == imported & {"alembic", "worker.demo", "worker.simulator", "worker.cli.show"}
