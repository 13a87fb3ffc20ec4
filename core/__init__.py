"""What every part shares: the runner contract, parameters, tasks, seeds, training, statistics."""
