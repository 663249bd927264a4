"""`python -m radapt` is the command line."""

from radapt.cli import main

main()
