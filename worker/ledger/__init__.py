"""What is durable: withdrawals, their history, their events. SQLAlchemy stays inside this room."""
