"""How likely it is that somebody was close."""
