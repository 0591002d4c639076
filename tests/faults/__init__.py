"""The fault harness: real workers, a real broker and databases, and a nemesis that breaks them."""
