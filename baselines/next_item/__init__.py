"""What rows of next items are compared with: counts, networks of ids, words of titles, and other language models."""
