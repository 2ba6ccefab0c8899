"""`python -m benchmarks.dropout`: every channel of a ResNet-18 dropped, by us, by a plain hook, and by Captum.

The hook sets a channel to zero behind the batch norm and runs the whole network; Captum's LayerFeatureAblation does the
same through its own machinery. Each round takes every layer in turn, and in each layer every contestant, in an order
that turns from round to round; CPU time with one torch thread. With a sample of each layer's channels, the time of a
channel is that of the sample, and the totals count it for all channels of the layer; what is spent once for a layer
counts once. The peak memory is the growth of the resident set of a process of its own over a sample of the channels.

Screening and racing (`benchmarks.dropout_screening`) goes over all channels in every round, on the clean images and on
as many attacked ones, as a scan does; its time is halved, so that it stands for the same images as the others.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import timm
import torch
from torch import Tensor, nn

from lsa_audit.graph.base import Graph, Layer
from lsa_audit.graph.suffix import rerun
from lsa_audit.graph.walker import walk
from lsa_audit.models.base import Model, PixelModel, Preprocessing

from .dropout_screening import Screened, attacked, screened

SEED = 0
SCREENING = "screening"
IMAGES = (64, 3, 32, 32)
RESET_PEAK = "5"
"""What /proc/self/clear_refs takes to set the peak of the resident set to its present size."""


@dataclass(frozen=True)
class Scene:
    """A walked network, images [N, C, H, W] and their verdicts [N]."""

    module: PixelModel
    graph: Graph
    images: Tensor
    labels: Tensor

    def behind(self, layer: Layer) -> nn.Module:
        """The module whose output is the layer's drop site."""
        (name,) = [one.info.name for one in self.graph.layers if one.site == layer.drop_site]
        return self.module.network.get_submodule(name)


@dataclass(frozen=True)
class Task:
    """Channels of a layer to be dropped, one at a time."""

    layer: Layer
    channels: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many channels the layer has in all."""
        return self.layer.info.neurons or 0


@dataclass(frozen=True)
class Result:
    """CPU seconds once for a layer and for each channel; logits [channels, N, K] where the contestant gives them."""

    once_s: float
    channel_s: float
    logits: Tensor | None = None

    def layer_s(self, width: int) -> float:
        """For all channels of the layer."""
        return self.once_s + width * self.channel_s


def ours(scene: Scene, task: Task) -> Result:
    """The prefix is run anew for each layer."""
    begin = time.process_time()
    runner = rerun(scene.graph, task.layer)
    kept = runner.keep(scene.images)
    middle = time.process_time()
    logits = runner.drop(kept, task.channels)
    return Result(middle - begin, (time.process_time() - middle) / len(task.channels), logits)


def naive(scene: Scene, task: Task) -> Result:
    """A whole forward for each channel."""
    module = scene.behind(task.layer)
    begin = time.process_time()
    logits = []
    for channel in task.channels:
        handle = module.register_forward_hook(_zero(channel))
        with torch.no_grad():
            logits.append(scene.module(scene.images))
        handle.remove()
    return Result(0.0, (time.process_time() - begin) / len(task.channels), torch.stack(logits))


def captum(scene: Scene, task: Task) -> Result:
    """One feature is a channel; where only a sample is asked for, all others are one more. Two forwards are for all."""
    from captum.attr import LayerFeatureAblation

    groups = torch.full((task.width,), len(task.channels))
    groups[list(task.channels)] = torch.arange(len(task.channels))
    module = scene.behind(task.layer)
    mask = groups.view(1, -1, 1, 1) if isinstance(module, nn.BatchNorm2d) else groups.view(1, -1)
    forwards = 2 + len(groups.unique())
    begin = time.process_time()
    LayerFeatureAblation(scene.module, module).attribute(scene.images, target=scene.labels, layer_mask=mask)
    each = (time.process_time() - begin) / forwards
    return Result(2 * each, each)


CONTESTANTS: dict[str, Callable[[Scene, Task], Result]] = {"lsa-audit": ours, "naive hook": naive, "captum": captum}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, or in a child process the sampled channels of one contestant, and print."""
    options = _options(arguments)
    torch.set_num_threads(1)
    scene = build()
    tasks = choose(scene, None if options.all else options.channels)
    if options.memory:
        print(peak_growth(lambda: _work(scene, tasks, options)))
        return 0
    present = [name for name in CONTESTANTS if name != "captum" or importlib.util.find_spec("captum")]
    for name in present:
        CONTESTANTS[name](scene, Task(tasks[0].layer, tasks[0].channels[:1]))
    rounds, races = [], []
    for number in range(options.rounds):
        turn = number % len(present)
        rounds.append([_layer(scene, task, present[turn:] + present[:turn]) for task in tasks])
        races.append(_screened(scene, tasks, options.share))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    memory = {name: _in_child(name, options) for name in [*present, SCREENING]}
    print(document(scene, tasks, rounds, memory))
    print(screening_lines(races, _screened(scene, tasks, 1.0), rounds, tasks, memory[SCREENING]))
    return 0


def build() -> Scene:
    """A ResNet-18 with random weights; norms are drawn too, as timm starts some of them at zero."""
    generator = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)
    network = timm.create_model("resnet18", num_classes=10).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
            module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
    model = Model(
        "resnet18", "timm", "resnet18", "random", PixelModel(network, Preprocessing()).eval(), Preprocessing()
    )
    images = torch.rand(IMAGES, generator=generator)
    graph = walk(model, images[:3])
    with torch.no_grad():
        return Scene(model.module, graph, images, model.module(images).argmax(1))


def choose(scene: Scene, most: int | None) -> list[Task]:
    """For each learnable layer the channels to drop: all, or a seeded sample."""
    draw = random.Random(SEED)  # noqa: S311 - picks channels
    tasks = []
    for layer in scene.graph.layers:
        width = layer.info.neurons or 0
        if layer.info.kind == "learnable" and width:
            channels = range(width) if most is None else sorted(draw.sample(range(width), min(most, width)))
            tasks.append(Task(layer, tuple(channels)))
    return tasks


def difference(found: Tensor, expected: Tensor) -> tuple[float, int]:
    """The largest difference of an image's logits relative to its largest logit, and how many verdicts differ."""
    error = (found - expected).abs().amax(-1) / expected.abs().amax(-1)
    return float(error.max()), int((found.argmax(-1) != expected.argmax(-1)).sum())


def peak_growth(work: Callable[[], object]) -> int:
    """Bytes by which the resident set grows at most during some work.

    Raises:
        FileNotFoundError: the system has no /proc.
    """
    gc.collect()
    # Else what is allocated next fits into memory that the C library has not given back yet.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def document(
    scene: Scene, tasks: Sequence[Task], rounds: Sequence[Sequence[dict[str, Result]]], memory: dict[str, int | None]
) -> str:
    """Two tables in Markdown: the totals over all channels, and each layer."""
    present = [name for name in CONTESTANTS if name in memory]
    whole = sum(layer.info.flops for layer in scene.graph.layers)
    shares = [rerun(scene.graph, task.layer).flops / whole for task in tasks]
    totals = {name: [_total(tasks, lines, name) for lines in rounds] for name in present}
    floors = [
        sum(
            task.width * line["naive hook"].channel_s * share
            for task, line, share in zip(tasks, lines, shares, strict=True)
        )
        for lines in rounds
    ]
    sampled, all_channels = sum(len(task.channels) for task in tasks), sum(task.width for task in tasks)
    lines = [
        f"ResNet-18, {' x '.join(map(str, IMAGES))}, one thread, {len(rounds)} interleaved rounds, "
        f"{sampled} of {all_channels} channels in {len(tasks)} layers, torch {torch.__version__}.",
        "",
        "| | CPU seconds for all channels | times as long as lsa-audit (lowest to highest round) | peak memory |",
        "|---|---|---|---|",
    ]
    for name, seconds in [*totals.items(), ("naive hook x share of FLOPs behind the layer", floors)]:
        ratios = [one / ours_s for one, ours_s in zip(seconds, totals["lsa-audit"], strict=True)]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        held = memory.get(name)
        lines.append(
            f"| {name} | {median(seconds):.1f} | {spread} | {'-' if held is None else f'{held / 2**20:.0f} MiB'} |"
        )
    lines += [f"| {name} | not installed | - | - |" for name in CONTESTANTS if name not in memory]
    worst, flipped = _exactness(rounds)
    lines += [
        "",
        f"Logits of lsa-audit and of the hook differ by at most {worst:.1e} of an image's largest; "
        f"{flipped} verdicts differ.",
        "",
        f"| layer | channels | FLOPs behind it | {' | '.join(f'{name}, ms a channel' for name in present)} |",
        f"|---|---|---|{'---|' * len(present)}",
    ]
    for position, (task, share) in enumerate(zip(tasks, shares, strict=True)):
        each = [median(found[position][name].channel_s for found in rounds) for name in present]
        cells = " | ".join(f"{1000 * seconds:.3f}" for seconds in each)
        lines.append(f"| {task.layer.info.name} | {task.width} | {100 * share:.2f} % | {cells} |")
    return "\n".join(lines)


def screening_lines(
    races: Sequence[Screened],
    exact: Screened,
    rounds: Sequence[Sequence[dict[str, Result]]],
    tasks: Sequence[Task],
    memory: int | None,
) -> str:
    """How screening and racing compares with the naive hook, and what it finds of what all pairs show."""
    ratios = [_total(tasks, line, "naive hook") / (race.seconds / 2) for line, race in zip(rounds, races, strict=True)]
    found = races[0].fragile & exact.fragile
    held = "" if memory is None else f"; peak memory {memory / 2**20:.0f} MiB"
    return (
        f"\nScreening and racing, {100 * races[0].measured:.1f} % of the pairs measured: the naive hook takes "
        f"{median(ratios):.1f}x as long ({min(ratios):.1f} to {max(ratios):.1f}); {len(found)} of {len(exact.fragile)} "
        f"fragile channels found, {len(races[0].fragile - exact.fragile)} others called fragile{held}."
    )


def _work(scene: Scene, tasks: Sequence[Task], options: argparse.Namespace) -> None:
    """What the contestant named by --memory does in a round."""
    if options.memory == SCREENING:
        _screened(scene, tasks, options.share)
        return
    for task in tasks:
        CONTESTANTS[options.memory](scene, task)


def _screened(scene: Scene, tasks: Sequence[Task], share: float) -> Screened:
    images = attacked(scene.module, scene.images, scene.labels)
    return screened(scene.graph, [task.layer for task in tasks], scene.images, images, scene.labels, share)


def _zero(channel: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        output[:, channel] = 0
        return output

    return hook


def _layer(scene: Scene, task: Task, names: Sequence[str]) -> dict[str, Result]:
    return {name: CONTESTANTS[name](scene, task) for name in names}


def _total(tasks: Sequence[Task], lines: Sequence[dict[str, Result]], name: str) -> float:
    return sum(line[name].layer_s(task.width) for task, line in zip(tasks, lines, strict=True))


def _exactness(rounds: Sequence[Sequence[dict[str, Result]]]) -> tuple[float, int]:
    found = []
    for line in rounds[0]:
        logits, expected = line["lsa-audit"].logits, line["naive hook"].logits
        if logits is not None and expected is not None:
            found.append(difference(logits, expected))
    return max(error for error, _ in found), sum(flipped for _, flipped in found)


def _in_child(name: str, options: argparse.Namespace) -> int | None:
    """None where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    settings = ["--channels", str(options.channels), "--share", str(options.share)]
    command = [sys.executable, "-m", "benchmarks.dropout", "--memory", name, *settings]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_bytes(field: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dropout", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--channels", type=int, default=16, help="of each layer, drawn with a fixed seed")
    parser.add_argument("--all", action="store_true", help="all channels of all layers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2, help="of the pairs that screening and racing may measure")
    parser.add_argument(
        "--memory", choices=[*CONTESTANTS, SCREENING], help="print the memory in bytes that one takes, no times"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
