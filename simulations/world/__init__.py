"""Worlds to replay through nodes."""
