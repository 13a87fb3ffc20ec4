"""`python -m craftbench` is `craftbench`."""

from .cli import main

main()
