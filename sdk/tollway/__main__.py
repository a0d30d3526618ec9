"""``python -m tollway``: the command line, where the script is not on the path."""

from tollway.cli import main

main()
