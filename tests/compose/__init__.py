"""compose.yaml: what it says is so, as far as that can be told without an engine."""
