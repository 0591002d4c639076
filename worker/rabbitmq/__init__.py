"""How messages come in and go out. aio-pika stays inside this room."""

from worker.rabbitmq import tolerance

# Before anybody in here can connect.
tolerance.install()
