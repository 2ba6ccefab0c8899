"""`python -m benchmarks.fuzz`: broken inputs of every family, in process and through the real command.

Every case must end with an exit code of the contract, at most one line of error, no traceback, no hang and no
half-written file. A case is named by family, seed and number, and `--family NAME --only NUMBER` makes it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from .families import FAMILIES, run_case, run_family


def main() -> int:
    """Run the cases, print what is wrong and a summary, and return 1 where anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=600, help="in process")
    parser.add_argument("--commands", type=int, default=60, help="through the real command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--only", type=int, help="the number of one case of --family")
    parser.add_argument("--report", type=Path, help="write the summary there too")
    given = parser.parse_args()
    if given.only is not None:
        ending = run_case(given.family, given.seed, given.only, command=False)
        print(ending)
        return int(bool(ending.fault))
    families = [given.family] if given.family else list(FAMILIES)
    lines, faults, total = [], [], Counter[str]()
    for command, count in ((False, given.cases), (True, given.commands)):
        for place, family in enumerate(families):
            share = count // len(families) + (place < count % len(families))
            # The cases of the real command are others than those in process.
            numbers = list(range(share)) if not command else list(range(10_000, 10_000 + share))
            began = time.monotonic()
            endings = run_family(family, given.seed, numbers, command=command)
            codes = Counter(str(ending.code) if ending else "died" for _, ending in endings)
            wrong = [(name, ending) for name, ending in endings if ending is None or ending.fault]
            total += codes
            where = "command" if command else "in process"
            shown = ", ".join(f"{code}: {number}" for code, number in sorted(codes.items()))
            lines.append(
                f"{family:10} {where:11} {len(endings):4} cases {time.monotonic() - began:6.0f} s  exit {shown}"
                f"  wrong {len(wrong)}"
            )
            print(lines[-1], flush=True)
            for name, ending in wrong:
                what = f"  {name}: {'the process died or hung' if ending is None else ending.fault}"
                detail = "" if ending is None else f" | {ending.case.name[:120]} | {ending.error}"
                faults.append(what + detail)
                print(faults[-1], flush=True)
    summary = f"{sum(total.values())} cases, {len(faults)} wrong; exit codes {dict(sorted(total.items()))}"
    print(summary)
    if given.report:
        given.report.write_text("\n".join([*lines, *faults, summary, ""]))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
