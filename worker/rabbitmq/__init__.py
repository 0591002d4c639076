"""How messages come in and go out. aio-pika stays inside this room."""
