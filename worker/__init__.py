"""An asynchronous worker that pays out through a provider, once and only once."""
