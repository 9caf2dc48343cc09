"""Wrappers around the strategies of Flower."""
