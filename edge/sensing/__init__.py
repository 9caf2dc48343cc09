"""From a radio frame to a sighting."""
