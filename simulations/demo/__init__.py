"""A whole federation on one machine, for real: broker, centre, nodes, an eavesdropper. `run.py` is the file to read."""
