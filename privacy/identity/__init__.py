"""Certificates and keys: who a party is."""
