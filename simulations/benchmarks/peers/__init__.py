"""The same federated task in other frameworks. Each module is run by itself, in an environment that has its framework.

A peer is started as `python MODULE.py NODES START AFTER`: it reads the start model from START (npz), does one round for
warming up, writes the model after it to AFTER, and says `ready`. For each line `R` that it is then given it does R
rounds and answers with the seconds that they took. Nothing of Jaga is imported here.
"""
