"""Unlearning baselines: one file each."""
