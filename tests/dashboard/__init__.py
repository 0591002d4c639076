"""The dashboard: its file, its queries on a real Prometheus, and the picture of it."""
