"""The whole journey on one machine: a private broker, a stand-in provider, the real worker."""
