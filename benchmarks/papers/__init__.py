"""One file per paper: what it compares."""
