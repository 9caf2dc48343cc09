"""The research harness: a whole federation on one machine, worlds to replay, benchmarks."""
