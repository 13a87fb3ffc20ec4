"""Networks and solvers that methods and baselines share."""
