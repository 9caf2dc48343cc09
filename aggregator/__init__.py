"""Everything that runs at the centre."""
