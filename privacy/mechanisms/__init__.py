"""Mechanisms that both sides have to agree on: noise that many nodes share, drawn exactly and from secure
randomness."""
