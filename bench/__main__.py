"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import harness, report, scenarios, sizes
from tools.errors import ToolError

RESULTS = Path(__file__).with_name("results")


def main(arguments: list[str] | None = None) -> int:
    """Measure, show, keep and compare; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _main(options)
    except (ToolError, report.UnreadableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _main(options: argparse.Namespace) -> int:
    known = [scenario.name for scenario in scenarios.SCENARIOS]
    unknown = sorted(set(options.only) - set(known))
    if unknown:
        raise ToolError(f"no such scenario: {', '.join(unknown)}. There are: {', '.join(known)}.")
    chosen = [one for one in scenarios.SCENARIOS if not options.only or one.name in options.only]
    compared = [report.load(path) for path in options.compare]
    found = asyncio.run(_measure(chosen, options))
    path = options.output or RESULTS / f"local-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    report.save(found, path)
    print(report.table(found, compared))
    print(f"\nWritten to {path}")
    return 0


async def _measure(chosen: list[scenarios.Scenario], options: argparse.Namespace) -> report.Report:
    size = sizes.FULL if options.full else sizes.QUICK
    async with harness.started(options.controller_command, _tell) as bench:
        machine = await bench.machine()
        measurements = []
        for scenario in chosen:
            _tell(f"{scenario.name}: {scenario.title}")
            measurements += await scenario.measure(bench, size)
    return report.Report(machine, tuple(measurements))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a controller of this API.")
    parser.add_argument("--full", action="store_true", help="longer waits and thousands of runs: about ten minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these scenarios")
    parser.add_argument(
        "--controller-command",
        metavar="COMMAND",
        default="",
        help="another controller to measure; {kubeconfig} in it is replaced by the path of its kubeconfig",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the results go, as JSON")
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="FILE", help="earlier results to show beside these"
    )
    return parser


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
