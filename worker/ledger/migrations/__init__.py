"""The ledger's schema, step by step; `schema` says what the steps add up to."""
