"""Public contact data as federations."""
