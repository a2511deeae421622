"""`python -m studiolo`: the command line."""

from studiolo.cli import main

main()
