"""A worker with a bug that kills its process: `python -m tests.app.deadly run`.

The worker is the real one but for this: a request of the investor `inv_deadly` ends the process, as
a crash in a native library or the kernel's memory killer would, before the request is written
down."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from worker.app import parts
from worker.cli.main import main
from worker.providers.bluum import Bluum

if TYPE_CHECKING:
    from worker.core.requests import Request

DEADLY: Final = "inv_deadly"


class DeadlyBluum(Bluum):
    """Cannot stand one investor."""

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body, or die."""
        if request.party_id == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compose(request, idempotency_key)


if __name__ == "__main__":
    vars(parts)["Bluum"] = DeadlyBluum
    main()
