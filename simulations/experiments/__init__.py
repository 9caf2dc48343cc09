"""Experiments that put a figure on a claim, each run as a module."""
