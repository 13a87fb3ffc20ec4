"""Metrics, one file per kind of prediction."""
