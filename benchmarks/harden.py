"""`python -m benchmarks.harden`: the time of one training step, ours beside a hand-written loop and ART.

Each round calls every contestant once, in an order that turns from round to round, on the same images and a copy of the
same network (a CIFAR ResNet-20 with random weights), and takes the CPU time of its steps with one torch thread. A step
is PGD-7 on a batch and one update on what it found. Ours is the training loop of `lsa-audit harden`, whole; its first
step of a round, which prepares the graph, does not count. ART takes part where it can be imported:

    PYTHONPATH=.venv.bench python -m benchmarks.harden

Where there is a CUDA device, images a second in float32, in bf16 and compiled are measured too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.harden_contestants import ART, CONTESTANTS, EARLY, OURS, PLAIN, SEED, Contestant, Scene, ours, scene_of
from benchmarks.machine import processor
from lsa_audit.device.runtime import runtime
from lsa_audit.records import Environment
from lsa_audit.writing import write_whole

GOAL = 1.2
FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": {"precision": "bf16"},
    "bf16, channels last": {"precision": "bf16", "channels_last": True},
    "float32, compiled": {"compile": True},
    "bf16, compiled": {"precision": "bf16", "compile": True},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and write speed.md and speed.json."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    absent: dict[str, str] = {}
    with runtime("cpu", 1) as place:
        present = _present(scene_of(options.batch_size, 2, place.device), absent)
        scene = scene_of(options.batch_size, options.steps + 1, place.device)
        rounds = [_round(scene, present, number) for number in range(options.rounds)]
        environment = place.environment()
    found = {
        "batch_size": options.batch_size,
        "steps": options.steps,
        "processor": processor(),
        "environment": environment.model_dump(mode="json"),
        "absent": absent,
        "cpu_s": rounds,
        "images_per_s": on_cuda(options.cuda_batch_size) if torch.cuda.is_available() else None,
    }
    write_whole(options.out / "speed.json", f"{json.dumps(found, indent=1)}\n".encode())
    write_whole(options.out / "speed.md", document(found, environment).encode())
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="that count, a round and contestant")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--cuda-batch-size", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("reports/harden"))
    return parser.parse_args(arguments)


def _present(scene: Scene, absent: dict[str, str]) -> dict[str, Contestant]:
    """Those that work, each warmed up; why a peer does not goes into `absent`."""
    present = {}
    for name, contestant in CONTESTANTS.items():
        try:
            contestant(scene)
        except Exception as error:
            if name != ART:
                raise
            # A peer may fail in any way on today's libraries; the others are compared all the same.
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"{name} takes no part: {absent[name]}")
            continue
        present[name] = contestant
    return present


def _round(scene: Scene, present: Mapping[str, Contestant], number: int) -> dict[str, float]:
    """Seconds of a step by contestant; the order turns by one place a round."""
    names = list(present)
    turn = number % len(names)
    found = {}
    for name in names[turn:] + names[:turn]:
        torch.manual_seed(SEED)
        found[name] = median(present[name](scene))
        _say(f"round {number + 1}: {name} {found[name]:.3f} s")
    return found


def on_cuda(batch_size: int, steps: int = 10) -> dict[str, dict[str, float]]:
    """Images a second on the GPU, by form; wall time, the device waited for."""

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    with runtime("cuda", None) as place:
        return speeds(replace(scene_of(batch_size, steps + 1, place.device), clock=clock), FORMS)


def speeds(scene: Scene, forms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Form -> images a second of PGD-7 alone and with AT-LR on the first two convolutions."""
    found: dict[str, dict[str, float]] = {}
    for form, values in forms.items():
        found[form] = {}
        for name, layers in (("PGD-7", ()), ("PGD-7 + AT-LR", EARLY)):
            found[form][name] = scene.batch_size / median(ours(layers, **values)(scene))
            _say(f"{scene.device.type}, {form}, {name}: {found[form][name]:.0f} images/s")
    return found


def document(found: Mapping[str, Any], environment: Environment) -> str:
    """The page."""
    rounds = found["cpu_s"]
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    lines = [
        "# One step of adversarial training",
        "",
        "    PYTHONPATH=.venv.bench python -m benchmarks.harden",
        "",
        f"CIFAR ResNet-20, random weights and images, batches of {found['batch_size']}, one thread; CPU seconds of a "
        f"step, median (smallest to largest) over {len(rounds)} interleaved rounds of {found['steps']} steps. Ratios "
        "are taken within each round.",
        "",
        f"{found['processor']}; {environment.platform}, Python {environment.python}; {packages}",
        "",
        f"| contestant | CPU s a step | to {OURS} | to the {PLAIN} |",
        "|---|---|---|---|",
    ]
    for name in rounds[0]:
        cells = [_spread([one[name] for one in rounds])]
        cells += [_spread([one[name] / one[other] for one in rounds]) for other in (OURS, PLAIN)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [f"| {name} | takes no part: {why} | | |" for name, why in found["absent"].items()]
    lines.append("")
    for name in (name for name in rounds[0] if "AT-LR" in name):
        ratio = median(one[name] / one[OURS] for one in rounds)
        lines += [f"{name}: {ratio:.2f} times {OURS}; the goal of at most {GOAL} is {_met(ratio)}.", ""]
    if found["images_per_s"] is None:
        return "\n".join([*lines, "No CUDA device: images a second were not measured.", ""])
    lines += ["| on CUDA, images a second | PGD-7 | PGD-7 + AT-LR |", "|---|---|---|"]
    for form, speeds in found["images_per_s"].items():
        lines.append(f"| {form} | {' | '.join(f'{speed:.0f}' for speed in speeds.values())} |")
    return "\n".join([*lines, ""])


def _met(ratio: float) -> str:
    return "met" if ratio <= GOAL else "missed"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
