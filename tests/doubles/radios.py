"""Radios for tests."""

from simulations.world.radio import RadioModel

PERFECT = RadioModel(
    power_dbm=-60.0,
    exponent=0.0,
    body_db=0.0,
    clear_m=1.0,
    wearer_db=0.0,
    link_db=0.0,
    window_db=0.0,
    sensitivity_dbm=-127.0,
    blur_db=0.0,
    missed=0.0,
)
"""Hears everything, always as loud."""
