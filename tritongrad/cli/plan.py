"""`tritongrad plan` and `tritongrad precompile`: what a training step launches, seen and compiled without a GPU."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import rich.box
import rich.console
import rich.table
import typer

from tritongrad.cli.options import app, checked, fail, one_of
from tritongrad.gpus import GPU, GPUS, named, of_arch
from tritongrad.plan import Plan, Table, plan as plan_function
from tritongrad.precompile import precompile
from tritongrad.profiler import profile
from tritongrad.training import NETWORKS, OPTIMIZERS, training_step
from tritongrad_kernels import dtypes
from tritongrad_kernels.compile.report import SHARED_LIMIT
from tritongrad_kernels.dtypes import dtype

DTYPES = {
    "fp32": dtypes.float32, "fp16": dtypes.float16, "bf16": dtypes.bfloat16, "fp64": dtypes.float64,
    "float32": dtypes.float32, "float16": dtypes.float16, "bfloat16": dtypes.bfloat16, "float64": dtypes.float64,
}  # fmt: skip

Model = Annotated[
    str, typer.Argument(help="mlp, or any of tritongrad.models.", callback=one_of(NETWORKS), metavar="MODEL")
]
Batch = Annotated[int, typer.Option(min=1, help="Images in a batch.")]
Image = Annotated[int, typer.Option(min=1, help="Side of an image in pixels.")]
Kind = Annotated[
    str, typer.Option("--dtype", callback=one_of(DTYPES), help="Of parameters and images: " + ", ".join(DTYPES))
]
Arch = Annotated[str, typer.Option(callback=checked(of_arch), help="Architecture to plan for: sm_80, sm_90, sm_100.")]
Update = Annotated[str, typer.Option(callback=one_of(OPTIMIZERS), help=", ".join(OPTIMIZERS))]
Classes = Annotated[int, typer.Option(min=1, help="Number of classes.")]


@app.command()
def plan(
    model: Model,
    batch: Batch = 256,
    image: Image = 224,
    kind: Kind = "bf16",
    arch: Arch = "sm_90",
    gpu: Annotated[
        str | None,
        typer.Option(callback=checked(named), help=f"{', '.join(GPUS)}; by default the first of the architecture."),
    ] = None,
    classes: Classes = 1000,
    optimizer: Update = "sgd",
    top: Annotated[int | None, typer.Option(min=0, help="List only the launches that take longest.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON: bytes and milliseconds.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the launches under the roofline into this PNG.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Write the modelled step as a Chrome trace, for ui.perfetto.dev, into this file."),
    ] = None,
) -> None:
    """Dry-run one training step: every launch, its floor time on a GPU, peak memory, and what fusing more would give.

    Nothing is allocated and nothing launched, so this needs no GPU. The step is one in the middle of training: the
    optimizer has its state.
    """
    card = of_arch(arch) if gpu is None else named(gpu)
    title = f"{model}, batch {batch}, image {image}, {DTYPES[kind].name}"
    planned = _planned_step(title, card, model, batch, image, DTYPES[kind], classes, optimizer, trace)
    if plot is not None:
        _plot(planned, plot)
    if json:
        sys.stdout.write(planned.to_json() + "\n")
        return
    _show(planned, len(planned.launches) if top is None else top)
    if plot is not None:
        typer.echo(f"roofline in {plot}")
    if trace is not None:
        typer.echo(f"timeline in {trace}, for ui.perfetto.dev")


@app.command("precompile")
def precompile_command(
    model: Model,
    batch: Batch = 256,
    image: Image = 224,
    kind: Kind = "bf16",
    arch: Annotated[
        str, typer.Option(callback=one_of(SHARED_LIMIT), help="GPU to compile for: " + ", ".join(SHARED_LIMIT))
    ] = "sm_90",
    optimizer: Update = "sgd",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes that compile; by default one a processor.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Also write the kernels to this file, for `tritongrad.precompile.load`.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="List every kernel with its figures.")] = False,
) -> None:
    """Compile every kernel of a training step, so that the first step on the GPU compiles nothing. Needs no GPU.

    The kernels land in Triton's cache (TRITON_CACHE_DIR, by default ~/.triton/cache).
    """
    reports = precompile(model, batch, image, kind, arch, jobs, optimizer, bundle)
    failed = [r for r in reports if r.error]
    for r in reports if verbose else failed:
        typer.echo(r.error or f"{r.registers:4} registers {r.shared:7,} bytes shared  {r.variant.name}")
    cached = sum(r.cached for r in reports)
    typer.echo(
        f"{len(reports)} kernels for {arch}: {len(reports) - cached - len(failed)} compiled, {cached} were in the cache"
        + (f"; {len(failed)} FAILED" if failed else "")
    )
    if bundle is not None:
        typer.echo(f"bundle in {bundle}")
    if failed:
        raise typer.Exit(1)


def _planned_step(
    title: str, gpu: GPU, network: str, batch: int, image: int, kind: dtype, classes: int, optimizer: str,
    trace: Path | None = None,
) -> Plan:  # fmt: skip
    step: Callable[[], object] | None = None

    def first_made_then_run() -> None:
        """The model is made in the first call, and so takes no memory either."""
        nonlocal step
        if step is None:
            step = training_step(network, batch, image, kind, classes, optimizer)
            step()
        elif trace is None:
            step()
        else:  # the second call is the one that is planned
            with profile(gpu=gpu) as profiled:
                step()
            try:
                profiled.export_chrome_trace(trace)
            except OSError as error:
                fail(str(error))

    return plan_function(first_made_then_run, gpu=gpu, name=title)


def _plot(planned: Plan, path: Path) -> None:
    try:
        planned.plot(path)
    except ModuleNotFoundError as missing:
        fail(f"--plot needs {(missing.name or 'matplotlib').split('.')[0]}: pip install 'tritongrad[bench]'")
    except (OSError, ValueError) as error:
        fail(str(error))


def _show(planned: Plan, top: int) -> None:
    """Launches first and totals last, so that these are what is seen at the end."""
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no edge to fold at
    listed = planned.launch_table()
    longest = heapq.nlargest(top, range(len(listed.rows)), key=lambda i: planned.launches[i].floor_ms)
    if longest:
        console.print(_drawn(Table(listed.header, [listed.rows[i] for i in sorted(longest)], listed.left)))
    console.print(planned.headline(), style="bold")
    console.print(f"({planned.gpu.source})", style="dim", soft_wrap=True)
    console.print(_drawn(planned.family_table()))
    console.print(_drawn(planned.floor_table()))
    console.print(f"peak memory {planned.peak_memory / 1e9:.2f} GB")


def _drawn(table: Table) -> rich.table.Table:
    drawn = rich.table.Table(box=rich.box.SIMPLE)
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if i < table.left else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
