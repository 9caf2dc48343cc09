"""Attacks on Jaga's own protections, with the real code; each is first shown to work where nothing stops it."""
