"""Epidemics on contacts: who infected whom, and when."""
