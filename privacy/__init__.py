"""The boundary that both sides meet at: what may cross, who may say it, and what it costs in privacy."""
