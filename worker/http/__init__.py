"""What is served over HTTP. aiohttp's server stays inside this room."""
