"""`studiolo bench`: put a load on an endpoint and see what it bears."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.show import print_json, print_table
from workspace.errors import Invalid
from workspace.paths import write_atomically

if TYPE_CHECKING:
    from serving.bench import Load, Summary

app = typer.Typer(help="Put a load on an endpoint and measure what it bears.")
SECONDS = 10.0


@app.command()
def endpoint(
    name: Annotated[str, typer.Argument(help="An endpoint, ENDPOINT/DEPLOYMENT or a model.")],
    clients: Annotated[int, typer.Option(min=1, help="Clients that ask one request after another.")] = 1,
    rate: Annotated[float | None, typer.Option(help="Requests a second instead, however long answers take.")] = None,
    seconds: Annotated[float | None, typer.Option(help="For so long; 10, unless --requests is said.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="So many requests.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What to ask.")] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="What to ask in turn: a text a line; in a .jsonl, a text or a request.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of each answer.")] = 64,
    stream: Annotated[bool, typer.Option(help="Whether answers come as they are made.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A page with pictures: report.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure requests and tokens a second, times to the first token and between tokens, and errors.

    Without a running studio, a gateway of its own is started and ended. Ctrl-C prints what was measured.
    """
    from serving import bench, bench_asks, bench_page
    from serving.local import local_gateway
    from studiolo import model_speeds

    if prompt is not None and prompts_file:
        raise Invalid("either --prompt or --prompts-file")
    prompts = bench_asks.read(prompts_file) if prompts_file else [prompt or bench_asks.PROMPT]
    until = seconds if seconds or requests else SECONDS
    with studiolo.open_workspace() as workspace:
        path, bodies = bench_asks.asks(workspace, name, prompts, max_tokens=max_tokens, stream=stream)
        plan = bench.Plan(bodies=bodies, path=path, clients=clients, rate=rate, seconds=until, requests=requests)
        with local_gateway(workspace) as gateway:
            load, cut = _measured(bench.Load(plan, gateway))
        found, by = bench.summary(load), bench_asks.way(workspace, name)
        if found.completion_tokens and rate is None and not cut:
            speed = found.tokens_per_second
            model_speeds.keep(workspace, by.model, by.engine, clients=clients, tokens_per_second=speed)
    if output:
        write_atomically(output, bench_page.page(load, found, title=f"Load on {name}"))
    if as_json:
        print_json(_plain(found))
    else:
        _print(found)
        where = f"open {output}" if output else f"studiolo bench endpoint {name} --clients {clients * 2} -o report.html"
        print(f"next: {where}", file=sys.stderr)
    if cut:
        raise KeyboardInterrupt


def _measured(load: Load) -> tuple[Load, bool]:
    """Return the load when it has ended, and whether somebody ended it."""
    import uvloop

    cut = False

    async def work() -> None:
        nonlocal cut

        def stop() -> None:
            nonlocal cut
            cut = True
            load.stop()

        print("waiting for the first answer", file=sys.stderr, flush=True)
        await load.warm()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
        async for progress in load.run():
            _show(f"{progress.seconds:5.1f} s  {progress.ended:,} answered, {progress.failed:,} failed, "
                  f"{progress.active} under way, {progress.tokens:,} tokens")  # fmt: skip

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return load, cut


def _show(line: str) -> None:
    """Show how it goes, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _print(found: Summary) -> None:
    rates = f"{found.requests_per_second:,.1f} requests/s, {found.tokens_per_second:,.1f} tokens/s"
    failed = f", {found.failed:,} failed" if found.failed else ""
    print(f"{found.requests:,} requests in {found.seconds:.1f} s{failed}: {rates}")
    print_table(("milliseconds", "p50", "p90", "p95", "p99"), _rows(found), right=("p50", "p90", "p95", "p99"))
    if found.errors:
        print_table(("error", "requests"), found.errors.items(), right=("requests",))


def _rows(found: Summary) -> Iterable[tuple[Any, ...]]:
    for name, times in found.times.items():
        yield (name, *(f"{value * 1e3:,.1f}" for value in times.values())) if times else (name, "", "", "", "")


def _plain(found: Summary) -> dict[str, Any]:
    told = asdict(found)
    for name in ("first_token", "inter_token", "latency"):
        told[name] = {f"p{share * 100:g}": seconds for share, seconds in told[name].items()}
    return told
