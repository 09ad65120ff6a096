"""What chapters call."""
