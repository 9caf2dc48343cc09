"""Public data sets: their cards, their files, and what sites learn from and are judged on."""
