"""What is learned from: loaders, simulators, splits."""
