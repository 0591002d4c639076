"""`python -m worker`, and the command `withdrawals-worker`: hears SIGTERM before anything else.

The first process of a container has no default for it: until somebody listens, it is lost. So
nothing that takes time is imported up here."""

import signal


def main() -> None:
    """Run the command line; never returns.

    SIGTERM ends it with 143, unless the command hears it by itself.
    """
    signal.signal(signal.SIGTERM, _end)
    from worker.cli import main as run  # noqa: PLC0415 - a second of imports

    run()


def _end(number: int, _frame: object) -> None:
    # As a shell tells of a process that a signal ended.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
