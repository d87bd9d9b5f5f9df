"""`python3 dev.py fuzz [--inputs N] [--seed S] [--target NAME]`: damaged files for every reader of the product."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Exit status 1 if an input was neither read nor refused as documented."""
    from fuzz.drive import Tally, drive
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(
        prog="dev.py fuzz",
        description="Damage real files and read them. Each input must be read, or refused by SAMLiverTumorError. No "
        "other error, no crash, no hang over 10 s, no memory over 4 GB, no file outside the output folder, no code run "
        "from a file may result.",
    )
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="number over all targets (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all random numbers (default: 0)")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument(
        "--only", type=int, metavar="NUMBER", help="repeat one input of --target, and keep its files in out/"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="parallel processes (default: 1)")
    options = parser.parse_args(arguments)
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    if options.only is not None:
        return _repeat(chosen[0], options.seed, options.only)
    whole = sum(target.share for target in chosen)
    counts = {target.name: max(1, round(options.inputs * target.share / whole)) for target in chosen}
    start = time.monotonic()

    def one(name: str) -> tuple[str, Tally]:
        inputs = ((name, number) for number in range(counts[name]))
        tally = drive(inputs, options.seed, _print_failure)[name]
        print(f"  {name}: {dict(tally.outcomes)}, slowest {tally.slowest_s:.2f} s", file=sys.stderr, flush=True)
        return name, tally

    with ThreadPoolExecutor(options.workers) as pool:
        tallies = dict(pool.map(one, counts))
    print(report(tallies, options.seed, time.monotonic() - start))
    return 1 if any(tally.failures for tally in tallies.values()) else 0


def _print_failure(name: str, answer: dict) -> None:
    """Print a failure at once, since the table comes only at the end of a long run."""
    from fuzz.drive import FINE

    if answer["outcome"] not in FINE:
        print(f"  {name} {answer['number']}: {answer['outcome']} {answer['place']} {answer['text']}", file=sys.stderr)


def report(tallies: dict, seed: int, seconds: float) -> str:
    """The table of a run, and its failures, each with the command that repeats it."""
    lines = ["| target | inputs | read | refused | failed | slowest | peak |", "|---|---|---|---|---|---|---|"]
    for name, tally in tallies.items():
        fine = tally.outcomes["read"] + tally.outcomes["refused"]
        lines.append(
            f"| {name} | {tally.inputs:,} | {tally.outcomes['read']:,} | {tally.outcomes['refused']:,} | "
            f"{tally.inputs - fine:,} | {tally.slowest_s:.2f} s | {tally.peak_bytes / 2**20:,.0f} MiB |"
        )
    total = sum(tally.inputs for tally in tallies.values())
    failed = sum(tally.inputs - tally.outcomes["read"] - tally.outcomes["refused"] for tally in tallies.values())
    lines.append(
        f"\n{total:,} inputs, {failed:,} failed, seed {seed}, {seconds:.0f} s, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )
    for tally in tallies.values():
        for each in tally.failures.values():
            again = f"python3 dev.py fuzz --target {each.target} --seed {seed} --only {each.number}"
            lines.append(f"\n{each.outcome} {each.place}: {each.text}\n    {again}")
    return "\n".join(lines)


def _repeat(target, seed: int, number: int) -> int:
    """Run one input alone, and keep its files."""
    from fuzz.drive import FINE, drive

    folder = ROOT / "out" / "fuzz" / f"{target.name}-{seed}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in target.damaged(seed, number).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    print(f"the input is in {folder}")
    tallies = drive([(target.name, number)], seed, lambda name, answer: print(answer))
    return 0 if set(tallies[target.name].outcomes) <= set(FINE) else 1


if __name__ == "__main__":
    sys.path[0:1] = [str(ROOT), str(ROOT / "Testing"), str(ROOT / "Testing" / "support")]
    sys.exit(main(sys.argv[1:]))
