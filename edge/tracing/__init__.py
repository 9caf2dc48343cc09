"""Diagnosis keys to matches, exposures and alerts, all on the node."""
