"""Baselines of watch-time prediction: one label a file, each by its own paper, on the network that all rows share."""
