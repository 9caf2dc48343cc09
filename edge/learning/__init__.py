"""Local training: the Flower ClientApp, its tasks, and differentially private SGD."""
