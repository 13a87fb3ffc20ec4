"""What the methods are compared with, by field."""
