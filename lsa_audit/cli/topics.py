"""What there is to choose from, by topic: for `list`, `explain`, `schema` and what a shell completes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Topic:
    """Something that is listed: what it is, in words, and its rows, all with the same columns."""

    what: str
    rows: Callable[[], Rows]


def _attacks() -> Rows:
    from ..attacks import ATTACKS

    return [
        {
            "name": name,
            "kind": entry.kind,
            "norms": ", ".join(entry.norms),
            "steps": str(entry.steps) if entry.iterative else "-",
            "source": entry.citation,
            "what": entry.summary,
        }
        for name, entry in ATTACKS.items()
    ]


def _data() -> Rows:
    from ..data import LOADERS

    return [{"name": name if loader.named else "-", "what": loader.summary} for name, loader in LOADERS.items()]


def _profiles() -> Rows:
    from ..settings.profile import presets

    return [
        {"name": name, "what": path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").strip()}
        for name, path in presets().items()
    ]


def explained(topic: str) -> Rows:
    """The pages of a key of `catalogue`: each id and its title."""
    from ..explanations import title

    return [{"name": name, "what": title(topic, name)} for name in catalogue()[topic]]


def _findings() -> Rows:
    from ..findings import HEALTH_RULES

    groups = dict.fromkeys(HEALTH_RULES, "attack-health")
    return [
        {"name": row["name"], "group": groups.get(row["name"], "result"), "what": row["what"]}
        for row in explained("findings")
    ]


def _gates() -> Rows:
    from ..settings.gates import GATES

    return [
        {"name": name, "limits": ", ".join(kind.limits), "what": kind.summary, "target": kind.target or "-"}
        for name, kind in GATES.items()
    ]


def _formats() -> Rows:
    from ..reporting import FORMATS

    return [{"name": name, "file": file} for name, (file, _) in FORMATS.items()]


LAYERS = {
    "learnable": "convolutions, linear and recurrent layers",
    "norm": "batch, layer and group norms",
    "attention": "attention",
    "activation": "activation functions",
    "add": "residual additions",
    "pool": "pooling",
    "block": "repeated units such as a residual block, and modules of no known class",
    "all": "every layer",
    "none": "no layer",
}
"""What `--layers` takes beside names: the kinds, and two words."""


def _layers() -> Rows:
    return [{"name": name, "what": what} for name, what in LAYERS.items()]


SCHEMAS = {
    "record": "record.json of a scan",
    "gate": "gate.json, what the gates said",
    "baseline": "baseline.json",
    "diff": "what `diff --format json` prints",
    "hardening": "hardening.json of harden",
    "repair": "repair.json of repair",
    "profile": "a profile, as it is written in YAML",
}
"""Files that have a JSON Schema."""

TOPICS: dict[str, Topic] = {
    "attacks": Topic("attacks and noises, for --attack and --noise", _attacks),
    "data": Topic("data sets and forms of data, for --data", _data),
    "profiles": Topic("settings that come with the program, for --profile", _profiles),
    "layers": Topic("kinds of layers, for --layers", _layers),
    "measures": Topic("how the movement of a layer is measured, for --measure", lambda: explained("measures")),
    "findings": Topic("what a report may tell, for `explain`", _findings),
    "gates": Topic("what a profile may limit, for `gates`", _gates),
    "presets": Topic("gates by one name, for --preset", lambda: explained("presets")),
    "formats": Topic("forms of the report, for --format and --output", _formats),
}


def rows(topic: str) -> Rows:
    """The rows of a key of `TOPICS`."""
    return TOPICS[topic].rows()


def catalogue() -> dict[str, tuple[str, ...]]:
    """Every id that has a page, by topic, in the order of the catalogues."""
    from ..attacks import ATTACKS
    from ..findings import RULES
    from ..settings.gates import GATES, PRESETS
    from ..settings.profile import Measure

    ids: dict[str, Iterable[str]] = {
        "findings": RULES,
        "gates": GATES,
        "presets": PRESETS,
        "attacks": ATTACKS,
        "measures": get_args(Measure),
    }
    return {topic: tuple(names) for topic, names in ids.items()}
