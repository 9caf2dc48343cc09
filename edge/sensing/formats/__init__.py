"""What is on the air, one module a format."""
