"""The worker as a real process, against a real broker, real ledgers and the simulator."""
