"""What got better and worse between two runs, as far as they can be compared. Pure: no disk, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..errors import UsageError
from ..gating.comparability import layer_refusals, other_conditions, shown
from ..gating.patterns import balls
from ..gating.snapshot import check
from ..records import Environment, Finding, Skipped
from ..records.diff import ComparedRun, FindingChanges, NeuronChange, RunDiff, SkippedChanges, Unlike
from ..records.gating import Difference
from ..records.snapshot import Snapshot
from .images import accuracy, classes, flipped, hardest
from .layers import layer_table
from .sides import CLEAN, Pairs, Side

ENVIRONMENT = ("python", "platform", "device", "threads", "precision", "deterministic")
DATA = ("name", "selection", "interpretation")


def compare(before: Side, after: Side, images: int, tool_version: str) -> RunDiff:
    """Everything that is different; what cannot be compared is listed.

    Args:
        images: how many flipped images of each kind are named.

    Raises:
        UsageError: no image or no perturbation that both have, or other labels that count as right.
        DataError: a malformed snapshot.
    """
    first, second = before.snapshot, after.snapshot
    for snapshot in (first, second):
        check(snapshot)
    pairs = Pairs.of(before, after)
    comparable, refused = _perturbations(first, second)
    _require_something(pairs, comparable, refused)
    shared_balls = _shared_balls(second, comparable)
    conditions = {CLEAN: (), **hardest(pairs, shared_balls)}
    measured = _measured(first, second, comparable)
    unlike_layers = (each for name in measured for each in layer_refusals(second, first, name, lists=True))
    class_tables, classes_unknown = classes(pairs, conditions)
    layer_tables = (layer_table(pairs, name) for name in measured)
    return RunDiff(
        tool_version=tool_version,
        before=_described(before),
        after=_described(after),
        images=len(pairs.rows_after),
        label_source=second.labels.source,
        not_compared=(*_images_of_one(pairs), *_unlike((*refused, *unlike_layers))),
        accuracy=accuracy(pairs, comparable, shared_balls),
        classes=class_tables,
        classes_unknown=classes_unknown,
        flipped=flipped(pairs, conditions, images),
        named_by=pairs.names()[0],
        layers=tuple(table for table in layer_tables if table is not None),
        neurons=_neurons(first, second),
        findings=_findings(first, second),
        skipped=_skipped(first, second),
        differences=tuple(_conditions(before, after)),
        environment_known=before.environment is not None and after.environment is not None,
    )


def _perturbations(before: Snapshot, after: Snapshot) -> tuple[list[str], list[Difference]]:
    """Ids of those that were run in the same way, in the order of the run after, and what forbids the others."""
    general = other_conditions(after, before, ())
    names = dict.fromkeys(entry.perturbation.id for side in (after, before) for entry in side.judged)
    found = {name: [each for each in other_conditions(after, before, (name,)) if each not in general] for name in names}
    # What concerns all of them, such as the precision, is said once.
    refused = [each for differences in found.values() for each in differences]
    unique = [each for place, each in enumerate(refused) if each not in refused[:place]]
    return [name for name, differences in found.items() if not differences], unique


def _require_something(pairs: Pairs, comparable: Sequence[str], refused: Sequence[Difference]) -> None:
    before, after = pairs.before.snapshot, pairs.after.snapshot
    if not len(pairs.rows_after):
        raise UsageError(
            f"{before.name} and {after.name} have no image in common", "compare runs on the same images and transforms"
        )
    if before.labels.source != after.labels.source:
        said = f"{before.labels.source} before and {after.labels.source} after"
        raise UsageError(f"other labels count as right: {said}", "scan both with the same --labels")
    if refused and not comparable:
        said = "; ".join(f"{each.what}: {each.baseline} before, {each.run} after" for each in refused)
        raise UsageError(f"no perturbation can be compared ({said})", "scan both with the same attacks and epsilons")


def _shared_balls(after: Snapshot, comparable: Sequence[str]) -> dict[str, list[str]]:
    """The attacks of each ball that can be compared; a ball without one is left out."""
    found = {ball: [name for name in ids if name in comparable] for ball, ids in balls(after).items()}
    return {ball: ids for ball, ids in found.items() if ids}


def _measured(before: Snapshot, after: Snapshot, comparable: Sequence[str]) -> list[str]:
    """The perturbations that can be compared and under which one run at least measured layers."""
    measured = {entry.perturbation for side in (before, after) for entry in side.measured}
    return [name for name in comparable if name in measured]


def _images_of_one(pairs: Pairs) -> Iterator[Unlike]:
    counts = [side.snapshot.clean.count for side in (pairs.before, pairs.after)]
    shared = len(pairs.rows_after)
    if counts != [shared, shared]:
        left, right = (f"{count - shared:,} of {count:,}" for count in counts)
        yield Unlike(what="images that only one run has", before=left, after=right)


def _unlike(differences: Iterable[Difference]) -> Iterator[Unlike]:
    return (Unlike(what=each.what, before=each.baseline, after=each.run) for each in differences)


def _described(side: Side) -> ComparedRun:
    snapshot = side.snapshot
    doubts = [each.rule for each in snapshot.findings if (each.group, each.level) == ("attack-health", "error")]
    return ComparedRun(
        name=snapshot.name,
        kind=side.kind,
        subject=snapshot.subject,
        model=snapshot.model.name,
        data=snapshot.data.name,
        started_at=snapshot.started_at,
        tool_version=snapshot.tool_version,
        images=snapshot.clean.count,
        doubts=tuple(dict.fromkeys(doubts)),
    )


def _neurons(before: Snapshot, after: Snapshot) -> tuple[NeuronChange, ...]:
    """In the order of the run after; layers that only the other one has come last."""
    first, second = ({each.layer: each for each in side.neurons} for side in (before, after))
    return tuple(
        NeuronChange(
            layer=layer,
            fragile_before=first[layer].fragile if layer in first else None,
            fragile_after=second[layer].fragile if layer in second else None,
            neurons_before=first[layer].neurons if layer in first else None,
            neurons_after=second[layer].neurons if layer in second else None,
        )
        for layer in dict.fromkeys((*second, *first))
    )


def _findings(before: Snapshot, after: Snapshot) -> FindingChanges:
    def key(finding: Finding) -> tuple[str, str, str]:
        return finding.rule, finding.level, finding.subject

    left, right = ({key(each) for each in side.findings} for side in (before, after))
    return FindingChanges(
        new=tuple(each for each in after.findings if key(each) not in left),
        gone=tuple(each for each in before.findings if key(each) not in right),
        same=len(left & right),
    )


def _skipped(before: Snapshot, after: Snapshot) -> SkippedChanges:
    def key(skipped: Skipped) -> tuple[str, str]:
        return skipped.what, skipped.reason

    left, right = ({key(each) for each in side.skipped} for side in (before, after))
    return SkippedChanges(
        new=tuple(each for each in after.skipped if key(each) not in left),
        gone=tuple(each for each in before.skipped if key(each) not in right),
        same=len(left & right),
    )


def _conditions(before: Side, after: Side) -> Iterator[Unlike]:
    """Model, data, labels, seed, then the environment where both keep it."""
    first, second = before.snapshot, after.snapshot
    yield from _unlike(shown(second, first))
    yield from _unlike(other_conditions(second, first, ()))
    yield from _fields("data", DATA, first.data, second.data)
    if before.environment is not None and after.environment is not None:
        yield from _fields("environment", ENVIRONMENT, before.environment, after.environment)
        yield from _packages(before.environment, after.environment)


def _fields(what: str, names: Sequence[str], before: object, after: object) -> Iterator[Unlike]:
    for name in names:
        left, right = str(getattr(before, name)), str(getattr(after, name))
        if left != right:
            yield Unlike(what=f"{what} {name}", before=left, after=right)


def _packages(before: Environment, after: Environment) -> Iterator[Unlike]:
    for name in dict.fromkeys((*before.packages, *after.packages)):
        left, right = (side.packages.get(name, "not there") for side in (before, after))
        if left != right:
            yield Unlike(what=f"package {name}", before=left, after=right)
