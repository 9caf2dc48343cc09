"""Rotating identifiers and the files that publish diagnosis keys (GAEN v1.2)."""
