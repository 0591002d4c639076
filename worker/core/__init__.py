"""What is decided, and nothing that is done.

Pure: no clock, no queue, no HTTP, no database; nothing here can wait."""
