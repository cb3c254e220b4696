"""`python -m tritongrad.cli`."""

from tritongrad.cli import main

main()
