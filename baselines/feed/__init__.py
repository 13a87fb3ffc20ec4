"""What rows of a feed are compared with: labels of plays, mixes of them, and orders that know nothing."""
