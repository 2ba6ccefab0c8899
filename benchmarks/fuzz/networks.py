"""Networks from a stranger's net.py: odd bodies, odd steps on the way, odd outputs, odd factories."""

from __future__ import annotations

import textwrap
from pathlib import Path

from numpy.random import Generator

from .case import Case, pick
from .outputs import FACTORIES, OUTPUTS
from .pieces import BODIES, FUNCTIONS, TOP, TRICKS

BARE = ["--noise", "none", "--threads", "1", "--epsilon", "0.1", "--samples", "20"]
FACTOR = "net.py:build"
SOUND = ("linear", "conv", "strided", "group norm", "attention")


def odd_outputs(draws: Generator, folder: Path, number: int) -> Case:
    """A usual network that returns something unusual."""
    output = pick(draws, OUTPUTS)
    name = _write(draws, folder, body=pick(draws, SOUND), output=output)
    return _case(draws, f"outputs {number} {name}")


def odd_forwards(draws: Generator, folder: Path, number: int) -> Case:
    """A network that does unusual things on its way to logits."""
    usual = pick(draws, ("z", "z", "z", pick(draws, OUTPUTS)))
    body = pick(draws, SOUND) if draws.random() < 0.4 else pick(draws, list(BODIES))
    tricks = [pick(draws, list(TRICKS)) for _ in range(int(draws.integers(0 if body not in SOUND else 1, 3)))]
    name = _write(draws, folder, body=body, output=usual, tricks=tricks)
    return _case(draws, f"forwards {number} {name}")


def odd_factories(draws: Generator, folder: Path, number: int) -> Case:
    """A factory that returns something unusual, or leaves something behind."""
    body = pick(draws, SOUND) if draws.random() < 0.6 else pick(draws, list(BODIES))
    name = _write(draws, folder, body=body, factory=pick(draws, list(FACTORIES)))
    return _case(draws, f"factories {number} {name}")


def _write(
    draws: Generator,
    folder: Path,
    *,
    body: str,
    output: str = "z",
    tricks: list[str] | None = None,
    factory: str = "eval",
) -> str:
    """Write net.py, and return what is odd about it."""
    init, lines = BODIES[body]
    places: dict[str, list[str]] = {"before": [], "middle": [], "after": []}
    for trick in tricks or []:
        place = pick(draws, ("before", "middle", "middle", "after"))
        text = TRICKS[trick]
        places[place].append(text if place != "after" else f"x, z = z, x\n{text}\nx, z = z, x")
    classes = pick(draws, (10, 10, 10, 10, 10, 2, 1, 12, 100))
    _fill(
        folder / "net.py",
        {
            "top": FUNCTIONS,
            "classes": str(classes),
            "init": init or "pass",
            "body": lines,
            **{place: "\n".join(texts) or "pass" for place, texts in places.items()},
            "output": output,
            "seed": str(int(draws.integers(100))),
            "factory": FACTORIES[factory],
        },
    )
    return " ".join([body, *(tricks or []), f"-> {output}", "" if factory == "eval" else f"[{factory}]"])[:110]


def _fill(path: Path, parts: dict[str, str]) -> None:
    """Put each part where its name stands, as far in as its name."""
    lines: list[str] = []
    for line in TOP.splitlines():
        name = line.strip().strip("{}")
        if line.strip() == f"{{{name}}}" and name in parts:
            lines += textwrap.indent(parts[name], line[: len(line) - len(line.lstrip())]).splitlines()
            continue
        for part in ("classes", "seed", "output"):
            line = line.replace(f"{{{part}}}", parts[part])
        lines.append(line)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _case(draws: Generator, name: str) -> Case:
    """A scan with measurements chosen at random; more rarely the layers, or the first steps of a training."""
    what = draws.random()
    if what < 0.1:
        return Case(name, ("layers", FACTOR, *pick(draws, ((), ("--json",), ("--data", "digits"))), *_model(draws)))
    if what < 0.22:
        return Case(name, ("harden", FACTOR, *_training(draws), *_model(draws)))
    return _scan(draws, name)


def _scan(draws: Generator, name: str) -> Case:
    """A scan of the network."""
    options = [
        *("--attack", *pick(draws, ATTACKS)),
        *("--layers", pick(draws, ("all", "learnable", "activation", "none", "head*"))),
        *("--neurons", pick(draws, ("all", "all", "mvl", "first-conv", "none", "head"))),
        *("--labels", pick(draws, ("self", "self", "dataset", "auto"))),
        *(pick(draws, ((), ("--batch-size", pick(draws, ("1", "7", "13", "64")))))),
        *(pick(draws, ((), ("--save-adversarials",), ("--seed", "7"), ("--noise", "gaussian")))),
    ]
    for probe in pick(draws, (("none",), ("patching",), ("filters",), ("patching", "filters"))):
        options += ["--probe", probe]
    if draws.random() < 0.3:
        options += ["--measure", pick(draws, ("relative-error", "l2", "cosine", "linf", "batch-relative-error"))]
    bare = BARE[2:] if "gaussian" in options else BARE
    gate = draws.random() < 0.06
    arguments = ("scan", FACTOR, "--data", "digits", *bare, *options, *_model(draws), "--out", "run")
    return Case(name, (*arguments, *(["--gate"] if gate else [])), may_fail=gate)


ATTACKS = (
    ("fgsm",),
    ("fgsm",),
    ("fgsm", "--norm", "l2"),
    ("pgd", "--steps", "2"),
    ("apgd-ce", "--steps", "3"),
    ("apgd-t", "--steps", "2"),
    ("fab-t", "--steps", "2"),
    ("deepfool", "--steps", "2"),
    ("square", "--queries", "5"),
    ("layer-pgd", "--steps", "2"),
    ("cascade", "--passes", "20"),
)


def _model(draws: Generator) -> tuple[str, ...]:
    """Options about the model, mostly none."""
    chances = (
        (),
        (),
        (),
        (),
        ("--classes", pick(draws, ("10", "2", "11"))),
        ("--mean", "0.1", "--std", "0.3"),
        ("--input-size", pick(draws, ("1x8x8", "1x16x16", "3x8x8"))),
        ("--layout", pick(draws, ("nchw", "nhwc", "flat"))),
        ("--model-arg", pick(draws, ("classes=10", "classes=0", "classes=-1", "nosuch=1", "classes=ten"))),
    )
    return tuple(pick(draws, chances))


def _training(draws: Generator) -> tuple[str, ...]:
    """Options of a training that only tries its first steps."""
    return (
        *("--data", "digits", "--samples", "40", "--test-samples", "20", "--epochs", "1", "--dry-run"),
        *("--threads", "1", "--epsilon", "0.1", "--batch-size", "10", "--attack", "fgsm"),
        *("--at", pick(draws, ("none", "fgsm", "pgd", "free", "trades", "mart")), "--steps", "1"),
        *pick(draws, ((), ("--reg", "atlr"), ("--reg", "lad-lie"), ("--reg", "lad-strang", "--layers", "all"))),
    )
