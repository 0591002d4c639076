"""The companies that hold the money, each in its own words. httpx stays inside this room."""
