"""Fuzzing of the trainer process by a lying leader: tasks, neighbouring stores, observations, comparison, search."""
