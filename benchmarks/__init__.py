"""What a paper compares, and the driver that runs it."""
