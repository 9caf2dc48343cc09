"""Experiments: a file says what to simulate, a folder holds what came of it."""
