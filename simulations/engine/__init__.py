"""Trains whole cohorts of nodes at once: the same task and mechanism as a node's, as one batched tensor program."""
