"""What the centre remembers: nodes, models, runs and rounds."""
