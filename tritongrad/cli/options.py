"""What the commands share: the program they belong to, checks of options, and how a command fails."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NoReturn

try:
    import typer
except ModuleNotFoundError as missing:
    raise SystemExit(f"tritongrad: this command needs {missing.name}: pip install 'tritongrad[cli]'") from None

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _tritongrad() -> None:
    """Deep learning with every number computed by a Triton kernel."""


def checked(known: Callable[[str], object]) -> Callable[[str | None], str | None]:
    """A check of an option: what `known` refuses is reported as a wrong option."""

    def check(value: str | None) -> str | None:
        try:
            if value is not None:
                known(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return check


def one_of(known: Collection[str]) -> Callable[[str | None], str | None]:
    def find(value: str) -> None:
        if value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")

    return checked(find)


def fail(message: str) -> NoReturn:
    """End the command with one line about why."""
    typer.echo(f"tritongrad: {message}", err=True)
    raise typer.Exit(1)
