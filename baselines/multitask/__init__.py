"""Baselines of multi-task learning: one balancer a file, each by its own paper; and what uses none.

A balancer's function gives weights w (T,), float64, with which the shared gradient is J' w. The mean over tasks is in them: 1/T
each is the gradient of the mean loss. Where a paper sums, its weights are divided by T here; each docstring says so.
"""
