"""Measurements against peers, each with a stated target."""
