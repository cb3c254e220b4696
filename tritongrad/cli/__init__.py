"""The command `tritongrad`, for which the extra `cli` must be installed."""

from tritongrad.cli import info as info, plan as plan, train as train
from tritongrad.cli.options import app as app


def main() -> None:
    """The entry point."""
    app()
