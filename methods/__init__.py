"""The reproduced methods, one file each, usable without the harness."""
