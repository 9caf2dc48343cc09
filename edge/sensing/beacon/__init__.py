"""A tag that is a Raspberry Pi: it advertises one rotating identifier."""
