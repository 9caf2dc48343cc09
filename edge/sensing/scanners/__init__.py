"""The scanners: radios, recordings, and a generator."""
