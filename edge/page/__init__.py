"""The node's own page on the site network, for staff."""
