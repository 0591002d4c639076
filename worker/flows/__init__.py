"""The stories, step by step. Each owns the small interfaces that it needs; none waits on a clock,
a broker or a database that was not handed to it."""
