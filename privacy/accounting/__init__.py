"""What a release costs: mechanisms, budgets, and the ledger that says no."""
