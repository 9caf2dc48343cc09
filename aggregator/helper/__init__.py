"""The second organisation of a secure sum: it holds one half of every vector, and answers for whole groups only."""
