"""Claims about the worker, each in a docstring."""
