"""The world against measured data: `fit` finds its numbers, `match` shows how near it is to data kept from the fit."""
