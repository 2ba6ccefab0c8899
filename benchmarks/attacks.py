"""`python -m benchmarks.attacks`: our attacks beside a hand-written loop and the peers, in interleaved rounds.

Each round calls every contestant once, in an order that turns from round to round, on the same images and a copy of the
same model, and takes its CPU time with one torch thread. What a contestant returns is judged afterwards by one plain
forward in float32. A round is stored when it is complete: rounds that are in `results.jsonl` already are not run again,
and a larger `--rounds` adds to them. Take the file away after a change of the code or of the peers that are installed.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import platform
import random
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from benchmarks.attacks_page import document
from benchmarks.attacks_peers import CONTESTANTS, SEED, Call
from benchmarks.attacks_scenes import SUBJECTS, Scene, Subject
from benchmarks.machine import processor
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.norms import inside
from lsa_audit.writing import write_whole

PACKAGES = ("torch", "timm", "torchattacks", "foolbox", "adversarial-robustness-toolbox", "pyautoattack")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds that are missing, and write the page."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    store = options.out / "results.jsonl"
    results = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    absent: dict[str, str] = {}
    torch.set_num_threads(1)
    for subject in _chosen(options.only):
        samples = options.samples or subject.samples
        done = {line["round"] for line in results if (line["subject"], line["samples"]) == (subject.name, samples)}
        missing = [number for number in range(options.rounds) if number not in done]
        if not missing:
            continue
        try:
            scene = subject.scene(samples)
        except FileNotFoundError as error:
            absent[subject.name] = f"needs the shared folder: {Path(error.filename).name} is not there"
            _say(f"{subject.name}: {absent[subject.name]}")
            continue
        _say(f"{subject.name}: warm-up")
        calls = _ready(subject, scene, absent)
        for number in missing:
            results += _round(subject, scene, calls, number)
            write_whole(store, "".join(json.dumps(line) + "\n" for line in results).encode())
    command = " ".join(["python -m benchmarks.attacks", *(arguments if arguments is not None else sys.argv[1:])])
    write_whole(options.out / "README.md", document(results, absent, command).encode())
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help=f"comma-separated subjects or their attacks: {', '.join(SUBJECTS)}")
    parser.add_argument("--samples", type=int, help="images a subject; default: 64 for pgd, 200 for the others")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("reports/attacks"))
    options = parser.parse_args(arguments)
    known = {name for subject in SUBJECTS.values() for name in (subject.name, subject.attack)}
    if unknown := set(options.only.split(",")) - known - {""}:
        parser.error(f"no subject is named {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    return options


def _chosen(only: str) -> list[Subject]:
    names = only.split(",")
    return [subject for subject in SUBJECTS.values() if not only or {subject.name, subject.attack} & set(names)]


def _ready(subject: Subject, scene: Scene, absent: dict[str, str]) -> dict[str, Call]:
    """The contestants' calls, each warmed up on a few images; what is wrong with a peer goes into `absent`."""
    calls = {}
    for name, contestant in CONTESTANTS[subject.attack].items():
        try:
            _seed()
            contestant.prepare(scene.apart(subject.warm_up))()
            calls[name] = contestant.prepare(scene.apart())
        except Exception as error:
            if contestant.package is None:
                raise
            # A peer may fail in any way on today's libraries; the others are compared all the same.
            place = f"{name} ({subject.attack})"
            absent[place] = f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"{place} takes no part: {absent[place]}")
    return calls


def _round(subject: Subject, scene: Scene, calls: dict[str, Call], number: int) -> list[dict[str, Any]]:
    """One line for each contestant; the order turns by one place a round."""
    names = list(calls)
    turn = number % len(names)
    lines = []
    for name in names[turn:] + names[:turn]:
        _seed()
        gc.collect()
        begin = time.process_time()
        images = calls[name]()
        cpu_s = time.process_time() - begin
        lines.append(
            {
                "subject": subject.name,
                "samples": len(scene.images),
                "round": number,
                "contestant": name,
                "cpu_s": round(cpu_s, 4),
                **_verdicts(scene, images),
                "environment": _environment(),
            }
        )
        _say(f"{subject.name}, round {number + 1}: {name} {cpu_s:.2f} s")
    return lines


def _verdicts(scene: Scene, images: Tensor) -> dict[str, Any]:
    """What one plain forward says of the images; one outside the ball or [0, 1] fools nobody."""
    images = images.detach().float()
    with torch.no_grad():
        before, after = (scene.module(batch).argmax(1) == scene.labels for batch in (scene.images, images))
    allowed = inside(images, scene.images, Budget("linf", scene.epsilon))
    robust = before & (after | ~allowed)
    return {
        "right_before": int(before.sum()),
        "robust": "".join("1" if held else "0" for held in robust.tolist()),
        "outside": int((~allowed).sum()),
    }


def _seed() -> None:
    """The peers draw from the global generators."""
    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)


@functools.cache
def _environment() -> str:
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    return f"{processor()}, {platform.machine()}, one thread; Python {platform.python_version()}; {versions}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
