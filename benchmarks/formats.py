"""`python -m benchmarks.formats`: about 30 architectures, each written in five forms and read back.

For every form: whether it could be written and loaded, the largest relative difference of the logits from those of the
original module (on the batch size it was written for and on another), how many layers the walk shows, and whether
gradients reach the input and the parameters. Each architecture runs in a process of its own; what is in
`results.jsonl` already is not run again.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.formats_forms import FORMS

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "resnet18": {"size": 64},
    "vgg11_bn": {"size": 224},
    "mobilenetv3_small_100": {"size": 64},
    "efficientnet_b0": {"size": 64},
    "convnext_atto": {"size": 64},
    "vit_tiny_patch16_224": {"size": 64, "img_size": 64},
    "deit_tiny_patch16_224": {"size": 64, "img_size": 64},
    "swin_tiny_patch4_window7_224": {"size": 56, "img_size": 56},
    "regnety_002": {"size": 64},
    "densenet121": {"size": 64},
    "mixer_s32_224": {"size": 64, "img_size": 64},
    "maxvit_rmlp_pico_rw_256": {"size": 64, "img_size": 64},
    "resmlp_12_224": {"size": 64, "img_size": 64},
    "coatnet_nano_rw_224": {"size": 64, "img_size": 64},
    "edgenext_xx_small": {"size": 64},
    "ghostnet_050": {"size": 64},
    "inception_v3": {"size": 96},
    "eca_nfnet_l0": {"size": 64},
    "xcit_nano_12_p16_224": {"size": 64, "img_size": 64},
    "poolformer_s12": {"size": 64},
    "repvgg_a0": {"size": 64},
    "cait_xxs24_224": {"size": 64, "img_size": 64},
    "beit_base_patch16_224": {"size": 64, "img_size": 64},
    "mobilevit_xxs": {"size": 64},
    "levit_128s": {"size": 224},
    "hrnet_w18_small": {"size": 64},
    "efficientformer_l1": {"size": 224},
    "fastvit_t8": {"size": 64},
    "mobilenetv2_050": {"size": 64},
    "gcvit_xxtiny": {"size": 224},
}
"""timm name -> image size, and what `timm.create_model` needs for it. The smallest of each family that timm has."""

PREFACE = """\
Each timm architecture with seeded random weights (norms, their statistics, layer scales and tables re-drawn
too, so that no part is switched off), written in each form with two images and an open batch size, and loaded
by the tool. A cell shows the largest difference of the logits on three images from those of the original
module, relative to the largest logit; the number of layers of the walk; and how many of the parameters (as
tensors) a gradient reaches. *right*: the difference is at most 1e-4 and the input's gradient agrees with the
original's (cosine above 0.999). *hooks*: the graph could not be exported and modules were walked. ONNX files
have fewer layers and parameters, as exporters fold batch norms into convolutions. What is missing stands below
with its cause.
"""

TIME_LIMIT_S = 900
PACKAGES = ("torch", "timm", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript")


def main() -> int:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="comma-separated names", default="")
    parser.add_argument("--out", type=Path, default=Path("reports/formats"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from benchmarks.formats_forms import measure

        for result in measure(options.child, dict(ARCHITECTURES[options.child])):
            print(json.dumps(result), flush=True)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    store = options.out / "results.jsonl"
    results = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    done = {result["architecture"] for result in results}
    wanted = options.only.split(",") if options.only else list(ARCHITECTURES)
    for name in wanted:
        if name in done:
            continue
        print(name, file=sys.stderr, flush=True)
        fresh = list(_run(name))
        results += fresh
        with store.open("a") as file:
            file.writelines(json.dumps(result) + "\n" for result in fresh)
    (options.out / "README.md").write_text(_document(results), encoding="utf-8")
    return 0


def _run(name: str) -> Iterator[dict[str, Any]]:
    """The results of one architecture, also where its process dies on the way."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.formats", "--child", name]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
        output, ended = process.stdout, f"the process ended with code {process.returncode}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"not done after {TIME_LIMIT_S} s"
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    yield from found
    for form in FORMS:
        if form not in {result["form"] for result in found}:
            yield {"architecture": name, "form": form, "failed": "benchmark", "cause": ended}


def _document(results: list[dict[str, Any]]) -> str:
    """The Markdown page."""
    names = list(dict.fromkeys(result["architecture"] for result in results))
    cells = {(result["architecture"], result["form"]): result for result in results}
    header = ["architecture", *(form.title for form in FORMS.values())]
    rows = [[name, *(_cell(cells.get((name, form))) for form in FORMS)] for name in names]
    counts = ["right", *(_count([cells.get((name, form)) for name in names]) for form in FORMS)]
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    lines = [
        "# Every format, read back",
        "",
        "    python -m benchmarks.formats",
        "",
        *PREFACE.splitlines(),
        "",
        f"{datetime.now(UTC):%Y-%m-%d}; {platform.machine()}, CPU; Python {platform.python_version()}; {versions}.",
        "",
        _line(header),
        _line(["---"] * len(header)),
        *(_line(row) for row in rows),
        _line(counts),
        "",
        "## What is missing, and why",
        "",
        *(_failures(results) or ["Nothing."]),
        "",
    ]
    return "\n".join(lines)


def _cell(result: dict[str, Any] | None) -> str:
    if result is None:
        return "not run"
    if "failed" in result:
        return {"writing": "not written", "loading": "refused"}.get(result["failed"], "failed")
    walker = "" if result["walker"] == "export" else f" *{result['walker']}*"
    right = "" if _is_right(result) else " **wrong**"
    return (
        f"{result['parity']:.0e}{right}, {result['layers']} layers{walker}, {result['reached']}/{result['parameters']}"
    )


def _is_right(result: dict[str, Any] | None) -> bool:
    return (
        result is not None
        and "failed" not in result
        and result["parity"] <= 1e-4
        and result["cosine"] is not None
        and result["cosine"] > 0.999
    )


def _count(results: list[dict[str, Any] | None]) -> str:
    return f"{sum(_is_right(result) for result in results)} of {len(results)}"


def _failures(results: list[dict[str, Any]]) -> list[str]:
    lines = []
    for result in results:
        where = f"- {result['architecture']}, {FORMS[result['form']].title}: "
        if "failed" in result:
            lines.append(f"{where}{result['failed']}: {result['cause']}")
        elif not _is_right(result):
            lines.append(f"{where}difference {result['parity']:.1e}, cosine of the input's gradient {result['cosine']}")
        elif result["remarks"]:
            lines.append(f"{where}{'; '.join(result['remarks'])}")
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
