"""What the commands of the command line do, a file for each kind. Each imports what it needs inside, so that `--help` is quick."""
