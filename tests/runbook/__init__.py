"""The runbook: for every alert a section, and every command in it does what the page says."""
