"""The encrypted database of a node."""
