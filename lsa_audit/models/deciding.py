"""Decides what the outputs of a network are: from its graph where that shows it, else from their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import ModelError, UsageError
from ..records import DecidedBy, LogitsAre, OutputInfo, OutputKind
from .calls import LINEAR, Activation
from .heads import HALVES, IN_FRONT, Blend, Head, Transform
from .outputs import ONLY, Choice, candidates, choose, columns, named
from .peeling import Watch
from .saturating import agrees, squashed

OutputsAre = Literal["logits", "probabilities"]

VALUE_IMAGES = 16
"""Images that values are judged by."""
RUN_IMAGES = 2
MOST_PEELS = 3
ROUNDING, HALF_ROUNDING = 1e-5, 1e-2

KINDS: dict[Activation, OutputKind] = {
    "sigmoid": "sigmoids",
    "softmax": "softmax",
    "log-sigmoid": "log-sigmoids",
    "log-softmax": "log-softmax",
    "argmax": "labels",
    "squash": "squashed",
}
FALLBACKS: dict[Activation, Transform] = {"sigmoid": "log-odds", "softmax": "logarithm"}
USED: dict[Transform, LogitsAre] = {"none": "unchanged", "logarithm": "logarithm", "log-odds": "log-odds"}


@dataclass(frozen=True)
class OutputOptions:
    """What is known of a model's outputs before it has run.

    Attributes:
        logits: name or index of the output that holds them, as the user says.
        outputs_are: what the user says that they are.
        classes: of the data or of the model, where known.
        peeled: the loader left this activation out already.
        maker: the operation that makes the output, where only the loader sees it.
        choice: the output that the loader took.
    """

    logits: str | None = None
    outputs_are: OutputsAre | None = None
    classes: int | None = None
    peeled: Activation | None = None
    maker: str = ""
    choice: Choice | None = None


NOTHING_KNOWN = OutputOptions()


@dataclass(frozen=True)
class Settled:
    """How the outputs become logits, what is to be said of it, and the logits [N, K] of the first images."""

    head: Head
    info: OutputInfo
    logits: Tensor


@dataclass(frozen=True)
class _Seen:
    """The output that is taken, the activations in front of it, and what made it.

    Attributes:
        blends: for each of `peeled`, what stands in for it.
        squashes: what those that saturate and make no probabilities are called, the last one first.
    """

    value: Tensor
    scores: Tensor
    peeled: tuple[Activation, ...]
    blends: tuple[Blend, ...]
    squashes: tuple[str, ...]
    known: Activation | None
    maker: str
    halved: bool = False


def settle(run: Callable[[Tensor], Any], images: Tensor, asked: OutputOptions, name: str) -> Settled:
    """Run a network and settle how what it returns becomes logits.

    Args:
        run: images -> what the network returns.
        images: a few, on the network's device.
        name: of the model, for messages.

    Raises:
        UsageError: nothing tells which output holds the logits, or what a single number an image is.
        ModelError: no scores [N, K], or such that are not finite.
        Exception: whatever the network raises.

    Cost: one forward on two images; where only values can tell, another on up to 16.
    """
    few = images[:RUN_IMAGES]
    with torch.no_grad(), Watch() as watch:
        returned = run(few)
    choice, value = _chosen(returned, asked, len(few), name, watch)
    seen = _looked_through(value, watch, asked, len(few))
    count = columns(seen.scores, len(few))
    if count is None:
        raise _no_scores(f"{name} returned {tuple(seen.scores.shape)} for {len(few)} images")
    head = Head(
        output="" if isinstance(returned, Tensor) else choice.name,
        columns=count,
        peels=len(seen.peeled),
        blends=seen.blends,
        ties=bool(seen.squashes),
        halved=seen.halved,
        single=count == 1,
    )
    if seen.peeled:
        head = replace(head, fallback=FALLBACKS.get(seen.peeled[0], "none"))
    clear = seen.peeled or asked.peeled or seen.maker in LINEAR or asked.outputs_are == "logits"
    sample = _sample(run, head, few if clear else images[:VALUE_IMAGES], seen)
    # Some images without an answer are wrong ones; without any answer there is nothing to audit.
    answers = ~(torch.isnan(sample) | torch.isposinf(sample)).any(1) & torch.isfinite(sample).any(1)
    if not answers.any():
        raise ModelError(
            f"{name} returned NaN or infinite logits on clean images", "check the weights and --mean/--std"
        )
    head, info = _read(head, seen, sample[answers], asked, name)
    logits = head.complete(seen.scores)
    chosen = {"output": choice.name, "others": choice.others, "chosen_by": choice.by}
    return Settled(head, info.model_copy(update=chosen), logits)


def _chosen(returned: Any, asked: OutputOptions, count: int, name: str, watch: Watch) -> tuple[Choice, Tensor]:
    """The output that holds the logits; labels that an argmax has made are as good, as it has scores before it."""
    if isinstance(returned, Tensor) and (asked.logits is None or asked.choice is not None):
        entry = watch.found(returned)
        labels = entry is not None and entry.kind == "argmax"
        if not labels and (columns(returned, count) is None or not returned.is_floating_point()):
            kind = "" if returned.is_floating_point() else f" of {str(returned.dtype).removeprefix('torch.')}"
            raise _no_scores(f"{name} returned {tuple(returned.shape)}{kind} for {count} images")
        return asked.choice or ONLY, returned
    tensors = named(returned)
    if not tensors:
        raise _no_scores(f"{name} returned {type(returned).__name__} for {count} images")
    choice = choose(candidates(returned, count), asked.logits, asked.classes, name)
    return choice, tensors[choice.name]


def _no_scores(what: str) -> ModelError:
    return ModelError(what, "a classifier must return logits [N, K]")


def _looked_through(value: Tensor, watch: Watch, asked: OutputOptions, count: int) -> _Seen:
    """The activations in front of the output, as far as they account for its values."""
    scores, known, halved = value, asked.peeled, False
    peeled, blends, squashes = list[Activation](), list[Blend](), list[str]()
    for _ in range(MOST_PEELS):
        entry = watch.found(scores)
        if entry is None:
            break
        kind, blend, name = entry.kind, IN_FRONT, ""
        before, after = _rows(entry.logits, count), _rows(scores, count)
        if not entry.plain:
            squash = None if before is None or after is None else squashed(entry, before, after)
            if squash is None:
                break
            kind, name, blend = squash
        elif kind == "argmax":
            if before is None or scores.numel() != count or not torch.equal(before.argmax(1), scores.flatten()):
                break
        elif before is None or after is None or not agrees(kind, before, after):
            known = known or kind
            break
        elif kind == "sigmoid" and after.shape[1] == 2 and _sums_to_one(after, after.dtype in HALVES):
            halved = True
        known = known or kind
        if asked.outputs_are == "logits":
            break
        scores = blend.of(entry.logits, scores)
        peeled.append(kind)
        blends.append(blend)
        squashes += [name] * bool(name)
    maker = watch.maker(scores) or asked.maker
    return _Seen(value, scores, tuple(peeled), tuple(blends), tuple(squashes), known, maker, halved)


def _rows(value: Tensor, count: int) -> Tensor | None:
    found = columns(value, count)
    return None if found is None else value.reshape(count, found)


def _sample(run: Callable[[Tensor], Any], head: Head, images: Tensor, seen: _Seen) -> Tensor:
    """The scores [n, K] that values are judged by."""
    plain = replace(head, single=False, halved=False)
    if len(images) <= RUN_IMAGES:
        return plain.complete(seen.scores)
    with torch.no_grad():
        return torch.cat([plain.run(run, part) for part in torch.split(images, RUN_IMAGES)])


def _read(head: Head, seen: _Seen, sample: Tensor, asked: OutputOptions, name: str) -> tuple[Head, OutputInfo]:
    """The head with what its values need, and what is to be said."""
    infinite = torch.isneginf(sample)
    if infinite.any():
        head = replace(head, masked=True)
    activation = asked.peeled or (seen.peeled[0] if seen.peeled else None)
    if activation is None:
        head, info = _by_values(head, seen, sample, asked, name)
    else:
        info = OutputInfo(
            kind=KINDS[activation],
            decided_by="graph",
            logits="peeled",
            columns=sample.shape[1],
            squashed_by=seen.squashes,
        )
    return head, info.model_copy(update={"masked": tuple(infinite.all(0).nonzero().flatten().tolist())})


def _by_values(head: Head, seen: _Seen, sample: Tensor, asked: OutputOptions, name: str) -> tuple[Head, OutputInfo]:
    kind, by = _kind(seen, sample, asked, name)
    transform: Transform = "none"
    if kind == "probabilities":
        transform = "logarithm"
    elif kind == "independent-probabilities":
        transform = "log-odds"
    info = OutputInfo(kind=kind, decided_by=by, logits=USED[transform], columns=sample.shape[1], images=len(sample))
    return replace(head, transform=transform), info


def _kind(seen: _Seen, sample: Tensor, asked: OutputOptions, name: str) -> tuple[OutputKind, DecidedBy]:
    """What scores are that no activation in sight has made, or one that does not account for them."""
    low, high, count = float(sample.min()), float(sample.max()), sample.shape[1]
    probable, coarse = low >= 0 and high <= 1, seen.value.dtype in HALVES
    one_or_many: OutputKind = (
        "probabilities" if count > 1 and _sums_to_one(sample, coarse) else "independent-probabilities"
    )
    if asked.outputs_are == "probabilities":
        if probable:
            return one_or_many, "user"
        what = f"--outputs-are probabilities: {name} returns values from {low:.3g} to {high:.3g}"
        raise UsageError(what, "probabilities lie in [0, 1]: leave the option out, or say logits")
    if asked.outputs_are == "logits":
        return "logits", "user"
    if seen.maker in LINEAR:
        return "logits", "graph"
    if count > 1:
        if probable:
            return one_or_many, "values"
        logarithms = high <= 0 and _sums_to_one(sample.exp(), coarse)
        return ("log-probabilities" if logarithms else "logits"), "values"
    if not probable:
        return "logits", "values"
    if seen.known in ("sigmoid", "softmax"):
        return "independent-probabilities", "graph"
    what = (
        f"{name} returns one number an image, here from {low:.3g} to {high:.3g}, which can be the probability of "
        "class 1 (decided at 0.5) or its logit (decided at 0)"
    )
    raise UsageError(what, "say which: --outputs-are probabilities, or --outputs-are logits")


def _sums_to_one(values: Tensor, coarse: bool) -> bool:
    rounding = HALF_ROUNDING if coarse else ROUNDING
    return bool(values.min() >= 0 and ((values.float().sum(1) - 1).abs() <= rounding * values.shape[1] ** 0.5).all())
