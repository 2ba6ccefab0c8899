"""`python -m benchmarks.mutations`: 40 small faults drawn by seed, and which tests notice them.

Each is tried in a copy of the project, against the tests of its own file and folder first, survivors against all
default tests, and what survives those against the slow ones. A fault whose result is there is not tried again, so a
long run may be cut and taken up; `--again` forgets them. Then OUT/README.md is made of all results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .drawing import draw, every
from .equivalents import EQUIVALENT
from .page import page
from .sites import Mutation
from .trial import STAGES, Verdict, copied

PROJECT = Path(__file__).resolve().parents[2]
Result = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is missing and write the table; 1 where a fault survived that is not named as equivalent."""
    options = _options(arguments)
    ranked = draw(PROJECT, every(PROJECT), options.count + len(EQUIVALENT), options.seed)
    alike = [entry for entry in ranked if entry.key in EQUIVALENT]
    drawn = [entry for entry in ranked if entry.key not in EQUIVALENT][: options.count]
    if options.list:
        for entry in drawn:
            print(f"{entry.path}:{entry.line} {entry.kind}: {entry.before} -> {entry.after}")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    if options.again:
        results.unlink(missing_ok=True)
    known = _known(results)
    with tempfile.TemporaryDirectory() as folder, copied(PROJECT, Path(folder), options.workers) as place:
        for number, entry in enumerate(drawn, 1):
            if _done(known.get(entry.key), options.last):
                continue
            verdict = place.try_out(entry, options.last)
            known[entry.key] = result = _result(entry, verdict, options.last)
            with results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(result) + "\n")
            print(f"{number}/{len(drawn)} {entry.path}:{entry.line} {entry.kind}: {_said(verdict)}", flush=True)
    tried = [(entry, known[entry.key]) for entry in drawn]
    (options.out / "README.md").write_text(page(tried, [*alike], options.seed), encoding="utf-8")
    return int(any(result["stage"] is None for _, result in tried))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--last", choices=STAGES, default="slow", help="the last stage that a survivor meets")
    parser.add_argument("--workers", type=int, default=2, help="processes of the default and slow tests")
    parser.add_argument("--out", type=Path, default=Path("reports/mutations"))
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--list", action="store_true", help="only print what is drawn")
    return parser.parse_args(arguments)


def _known(path: Path) -> dict[tuple[str, ...], Result]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {tuple(found["key"]): found for found in map(json.loads, lines)}


def _done(result: Result | None, last: str) -> bool:
    """Noticed, or met every stage that is asked for now."""
    return result is not None and (
        result["stage"] is not None or STAGES.index(str(result["last"])) >= STAGES.index(last)
    )


def _result(entry: Mutation, verdict: Verdict, last: str) -> Result:
    return {"key": entry.key, "kind": entry.kind, "last": last, **asdict(verdict), "seconds": round(verdict.seconds)}


def _said(verdict: Verdict) -> str:
    return f"noticed by {verdict.test} ({verdict.stage})" if verdict.stage else "SURVIVED"


if __name__ == "__main__":
    raise SystemExit(main())
