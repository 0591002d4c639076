"""The stories, step by step; each owns the small interfaces that it needs.

Nothing here waits for a clock, a broker or a database that was not handed to it."""
