"""The pages of a reproduction: Markdown for people, JSON and CSV of the figures."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsa_audit.writing import write_whole

from . import answers
from .cells import Cell
from .experiment import Experiment
from .results import CLEAN, Figure, PageError, Results, Spread, fgsm, spread

__all__ = ["PageError", "document", "write"]

HEALTH = ("error", "warning", "note")

Row = list[str]


def write(experiment: Experiment, cells: Sequence[Cell], out: Path) -> None:
    """NAME.md, NAME.json and NAME.csv.

    Raises:
        PageError: the cells do not make one page.
        OutputError: the folder cannot be written.
    """
    results = Results(experiment, cells)
    write_whole(out / f"{experiment.name}.md", document(results).encode())
    write_whole(out / f"{experiment.name}.json", f"{json.dumps(summary(results), indent=1)}\n".encode())
    write_whole(out / f"{experiment.name}.csv", table(results).encode())


def document(results: Results) -> str:
    """The Markdown page."""
    experiment, sizes = results.experiment, results.first["sizes"]
    lines = [
        f"# {experiment.title}",
        "",
        f"Source: {experiment.source}. Made by `python -m benchmarks.papers {experiment.name}`.",
        "",
        f"{sizes['training']} training, {sizes['validation']} validation and {sizes['test']} test images, the scan "
        f"with the cascade on the first {sizes['scan']} of these and AutoAttack on the first {sizes['autoattack']}; "
        f"{results.first['recipe']['epochs']} epochs. Accuracies in %: mean ± standard deviation over the seeds "
        "(smallest to largest). A model counts as right on an image that is right before and after the attack.",
        "",
        "Differs from the source:",
        "",
        *(f"- {sentence}" for sentence in experiment.differs),
        "",
        "## Answers",
        "",
    ]
    lines += [
        *answers.paragraphs(results),
        "",
        "P-values are exact McNemar tests on the verdicts pooled over the seeds, Holm-adjusted over the table; the "
        "same images come back with every seed, so they are too small where the seeds disagree: read the interval over "
        "the seeds beside them.",
        "",
    ]
    sections = (_published, _attacks, _gains, _health, _profile, _training)
    return "\n".join([*lines, *(line for section in sections for line in section(results)), *_machines(results)])


def _published(results: Results) -> list[str]:
    """FGSM as published and as measured here."""
    experiment = results.experiment
    header = ["setting", "", *(f"{epsilon:g}" for epsilon in experiment.grid), "R&G"]
    rows = []
    for setting in results.settings:
        if setting.row is not None:
            published = experiment.published[setting.row]
            figures = [f"{value:.2f}" for value in (*published, sum(published))]
            rows.append([setting.name, f"published ({setting.row})", *figures])
        columns = [results.accuracies(setting.name, fgsm(epsilon)) for epsilon in experiment.grid]
        ours = [spread_text(spread(values)) for values in (*columns, results.scores(setting.name))]
        seeds = len(results.seeds(setting.name))
        rows.append([setting.name, f"ours, {seeds} seed{'s' if seeds > 1 else ''}", *ours])
    title = "## FGSM at each epsilon, and the R&G score (their sum)"
    return [title, "", *_table(header, rows), ""]


def strong_figures(experiment: Experiment) -> list[Figure]:
    """The columns beside FGSM."""
    return [
        CLEAN,
        *(Figure("white-box", "pgd", epsilon) for epsilon in experiment.strong),
        *(Figure("white-box", "apgd-ce", epsilon) for epsilon in experiment.decisive),
        *(Figure("scan", "cascade", epsilon) for epsilon in experiment.decisive),
        Figure("autoattack", "autoattack", experiment.decisive[0]),
    ]


def _attacks(results: Results) -> list[str]:
    """The same networks under stronger attacks."""
    figures = strong_figures(results.experiment)
    header = ["setting", *(_label(figure) for figure in figures), "attack-health findings"]
    rows = [
        [
            setting.name,
            *(spread_text(spread(results.accuracies(setting.name, figure))) for figure in figures),
            _counted(results.cells(setting.name)),
        ]
        for setting in results.settings
    ]
    return ["## Stronger attacks", "", *_table(header, rows), ""]


def _counted(cells: Sequence[Cell]) -> str:
    levels = Counter(entry["level"] for cell in cells for look in cell["looks"] for entry in look["findings"])
    return ", ".join(f"{levels[level]} {level}{'s' if levels[level] != 1 else ''}" for level in HEALTH if levels[level])


def _gains(results: Results) -> list[str]:
    rows = answers.gain_rows(answers.gains(results))
    if not rows:
        return []
    header = [
        "setting",
        "base",
        f"attack at {results.experiment.decisive[0]:g}",
        "clean, points",
        "robust, points",
        "gained / lost",
        "p, Holm",
        "over seeds",
    ]
    return ["## Against the base, on the same images", "", *_table(header, rows), ""]


def _health(results: Results) -> list[str]:
    """Which rule spoke, where, and in how many seeds."""
    rows = []
    for setting in results.settings:
        cells = results.cells(setting.name)
        seeds: Counter[tuple[str, str, str]] = Counter()
        example: dict[tuple[str, str, str], str] = {}
        for cell in cells:
            for look in cell["looks"]:
                for entry in look["findings"]:
                    key = (entry["level"], entry["rule"], f"{look['name']}: {entry['subject']}")
                    seeds[key] += 1
                    example.setdefault(key, entry["message"])
        for key in sorted(seeds, key=lambda key: (HEALTH.index(key[0]), key)):
            rows.append([setting.name, *key, f"{seeds[key]} of {len(cells)}", example[key].replace("|", "/")])
    header = ["setting", "level", "rule", "audit and subject", "seeds", "in the first of them"]
    scale = results.experiment.scale
    units = [] if scale == 1 else [f"Epsilons of attacks are in pixel units here: 1/{scale:g} of those above.", ""]
    return ["## What the audits say of their attacks", "", *units, *_table(header, rows or [["none", *[""] * 5]]), ""]


def _profile(results: Results) -> list[str]:
    """Relative error of each layer under the scan's PGD at the first decisive epsilon."""
    layers: list[str] = []
    found: dict[str, dict[str, list[float]]] = {}
    for setting in results.settings:
        for cell in results.cells(setting.name):
            means = profile_of(cell)
            layers += [layer for layer in means if layer not in layers]
            for layer, value in means.items():
                if value is not None:
                    found.setdefault(setting.name, {}).setdefault(layer, []).append(value)
    rows = [
        [name, *(spread_text(spread(values[layer])) if layer in values else "-" for layer in layers)]
        for name, values in found.items()
    ]
    title = f"## Relative error of each layer, PGD at {results.experiment.decisive[0]:g}"
    return [title, "", *_table(["setting", *layers], rows), ""]


def profile_of(cell: Cell) -> dict[str, float | None]:
    """Layer -> mean relative error under PGD at the first decisive epsilon."""
    (look,) = [look for look in cell["looks"] if look["name"] == "scan"]
    first = next(entry for entry in look["layers"] if entry["perturbation"].startswith("pgd@"))
    means: dict[str, float | None] = first["means"]
    return means


def _training(results: Results) -> list[str]:
    rows = []
    for setting in results.settings:
        cells = results.cells(setting.name)
        endings = Counter(cell["log"]["ending"] for cell in cells)
        kept = [cell["log"]["kept_epoch"] for cell in cells]
        seconds = spread([cell["training_s"] for cell in cells])
        audits = spread([sum(look["duration_s"] for look in cell["looks"]) for cell in cells])
        rows.append(
            [
                setting.name,
                ", ".join(f"{count} {ending}" for ending, count in endings.items()),
                ", ".join(str(epoch) for epoch in kept),
                f"{seconds.mean:.0f}",
                f"{audits.mean:.0f}",
            ]
        )
    header = ["setting", "ended", "kept epoch, by seed", "training, s", "audits, s"]
    details = [
        f"- {cell['setting']}, seed {cell['seed']}: {cell['log']['detail']}."
        for setting in results.settings
        for cell in results.cells(setting.name)
        if cell["log"]["ending"] != "finished"
    ]
    details += [f"- {cell['setting']}, seed {cell['seed']}: failed: {cell['failed']}." for cell in results.failed]
    return ["## Training", "", *_table(header, rows), "", *details, *([""] if details else [])]


def _machines(results: Results) -> list[str]:
    """What the figures were computed with."""
    lines: Counter[str] = Counter()
    for setting in results.settings:
        for cell in results.cells(setting.name):
            place = cell["looks"][0]["environment"]
            packages = ", ".join(f"{name} {version}" for name, version in place["packages"].items())
            lines[
                f"{cell['processor']}, {place['device']}, {place['threads']} thread(s), training in "
                f"{cell['recipe']['precision']}; {place['platform']}, Python {place['python']}; {packages}"
            ] += 1
    return ["## Hardware", "", *(f"- cells: {count}; {line}" for line, count in lines.items()), ""]


def summary(results: Results) -> dict[str, Any]:
    """The figures of the page."""
    experiment = results.experiment
    figures = [*(fgsm(epsilon) for epsilon in experiment.grid[1:]), *strong_figures(experiment)]
    return {
        "experiment": experiment.name,
        "grid": experiment.grid,
        "sizes": results.first["sizes"],
        "published": experiment.published,
        "settings": {
            setting.name: {
                "seeds": results.seeds(setting.name),
                "figures": {_label(figure): results.accuracies(setting.name, figure) for figure in figures},
                "r_and_g": results.scores(setting.name),
            }
            for setting in results.settings
        },
        "answers": [line for line in answers.paragraphs(results) if line],
    }


def table(results: Results) -> str:
    """One line a cell and figure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["setting", "seed", "figure", "percent"])
    for name, values in summary(results)["settings"].items():
        for label, column in (*values["figures"].items(), ("R&G", values["r_and_g"])):
            for seed, value in zip(values["seeds"], column, strict=True):
                writer.writerow([name, seed, label, f"{value:.4f}"])
    return stream.getvalue()


def spread_text(found: Spread) -> str:
    """Two digits where they say something: 12.3 ± 1.4 (10.9 to 14.0)."""
    digits = 1 if found.high >= 10 else 2
    if found.std is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ± {found.std:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _label(figure: Figure) -> str:
    return figure.attack if figure.attack == "clean" else f"{figure.attack} {figure.epsilon:g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
