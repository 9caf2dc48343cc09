"""What is learnt, one module a task."""
