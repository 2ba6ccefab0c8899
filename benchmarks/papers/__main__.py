"""`python -m benchmarks.papers moon|mnist|cifar`: published experiments of layer-wise regularisation, done again.

Each cell (a setting with a seed) is trained and audited, and kept under OUT/NAME/cells/. A cell that is there already
is not run again, so a long run may be cut and taken up, and processes may share the seeds between them; take a cell
away after a change of the code. Then OUT/NAME.md, .json and .csv are made of all cells there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from lsa_audit.errors import AuditError

from . import cells, cifar, mnist, moon, page
from .experiment import Experiment, Sizes

EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in (moon, mnist, cifar)}
SHARED = Path(os.environ.get("LSA_AUDIT_SHARED", "../shared"))
SIZE_NAMES = ",".join(entry.name for entry in fields(Sizes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells that are missing, and write the pages."""
    options = _options(arguments)
    experiment = _adjusted(EXPERIMENTS[options.experiment], options)
    folder = options.out / experiment.name / "cells"
    try:
        if not options.only_page:
            machine = cells.Machine(options.device, options.threads, options.precision)
            parts = experiment.load(options.data, experiment.sizes)
            wanted = [(setting, seed) for seed in options.seeds for setting in experiment.settings]
            cells.fill(experiment, parts, wanted, folder, machine)
        page.write(EXPERIMENTS[experiment.name], cells.read(folder), options.out)
    except (AuditError, FileNotFoundError, page.PageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.papers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="folder with mnist/ and cifar10/")
    parser.add_argument("--out", type=Path, default=Path("reports/papers"))
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2, 3, 4), help="comma-separated")
    parser.add_argument("--settings", default="", help="comma-separated; all where it is left out")
    parser.add_argument("--only-page", action="store_true", help="train nothing")
    parser.add_argument("--epochs", type=int, help="instead of the experiment's own")
    parser.add_argument("--sizes", type=_numbers, help=f"comma-separated numbers of images: {SIZE_NAMES}")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"], help="of training")
    options = parser.parse_args(arguments)
    known = [setting.name for setting in EXPERIMENTS[options.experiment].settings]
    if unknown := set(options.settings.split(",")) - {*known, ""}:
        parser.error(f"no setting is named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.sizes and len(options.sizes) != len(fields(Sizes)):
        parser.error(f"--sizes takes {SIZE_NAMES}")
    return options


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _adjusted(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """With the epochs, sizes and settings that were asked for."""
    if options.epochs:
        experiment = replace(experiment, recipe={**experiment.recipe, "epochs": options.epochs})
    if options.sizes:
        experiment = replace(experiment, sizes=Sizes(*options.sizes))
    if options.settings:
        names = options.settings.split(",")
        experiment = replace(experiment, settings=tuple(experiment.setting(name) for name in names if name))
    return experiment


if __name__ == "__main__":
    sys.exit(main())
