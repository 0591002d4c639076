"""Waits until a worker is ready, then becomes another command, such as `withdrawals-worker check`.

Takes the address of its /readyz, for how many seconds to wait at most, and the command."""  # noqa: INP001 - run by `helm test`, part of nothing

import json
import os
import sys
import time
import urllib.error
import urllib.request

address, deadline, command = sys.argv[1], time.monotonic() + float(sys.argv[2]), sys.argv[3:]
while True:
    try:
        with urllib.request.urlopen(address, timeout=3):  # noqa: S310 - the chart's own address
            break
    except urllib.error.HTTPError as answer:
        checks = json.load(answer)["checks"].items()
        failing = (
            f"{name}: {check['detail']}" for name, check in checks if check["status"] != "ok"
        )
        found = f"no worker is ready ({', '.join(failing)})"
    except OSError as error:
        found = f"no answer from {address}: {error}"
    if time.monotonic() > deadline:
        sys.exit(found)
    time.sleep(2)
print("ok   worker: ready", flush=True)  # noqa: T201 - the log of the test
os.execvp(command[0], command)  # noqa: S606 - the chart's own command
