"""The image: really built, looked through, and run with a read-only root and no rights."""
