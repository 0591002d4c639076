"""Waits until a worker is ready: the address of its /readyz, and for how many seconds at most."""  # noqa: INP001 - run by `helm test`, part of nothing

import json
import sys
import time
import urllib.error
import urllib.request

address, deadline = sys.argv[1], time.monotonic() + float(sys.argv[2])
while True:
    try:
        with urllib.request.urlopen(address, timeout=3):  # noqa: S310 - the chart's own address
            sys.exit(0)
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
