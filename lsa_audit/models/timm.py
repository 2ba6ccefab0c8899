"""Models of the timm library: its registry, and timm models on the Hugging Face hub."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import ModelError, UsageError, first_line
from .assembly import Built, assemble
from .base import Model, Preprocessing
from .builtin import BUILTINS
from .download import CONFIG_FILE, WEIGHT_FILES, failure, is_download_error, quiet_hub, require
from .preprocessing import first_channels, from_config
from .request import ModelRequest
from .seeding import seeded

HUB_PREFIXES = ("hf-hub:", "hf_hub:")
OWN_PREFIX = "timm/"
RESERVED = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")
OFFLINE_HINT = "give --checkpoint FILE, or --random-weights"
MATCHES = 3


def load(request: ModelRequest) -> Model:
    """A timm model with its published weights, a checkpoint's, or random ones (seeded).

    Raises:
        ModelError: unknown name (with the nearest ones), no published weights, a failed download, wrong arguments.
        UsageError: an argument that this tool sets itself, or a wrong mean, std or input size.
        UnsafeError: the checkpoint carries code.

    Cost: the download, where the weights are not cached. Random: a private copy of the generators.
    """
    reserved = [name for name in RESERVED if name in request.arguments]
    if reserved:
        raise UsageError(f"--model-arg {reserved[0]} is set by the tool", "use --checkpoint or --random-weights")
    pretrained = request.checkpoint is None and not request.random_weights
    name = _registered(request.spec)
    with quiet_hub():
        published = _published(name, request, pretrained)
        network = _create(name, request, pretrained)
    config = dict(getattr(network, "pretrained_cfg", None) or {})
    return assemble(
        request,
        "timm",
        Built(
            network=network,
            name=request.spec,
            architecture=str(config.get("architecture") or type(network).__name__),
            weights=f"published by {published}",
            metadata=_metadata(network, request),
            classes=getattr(network, "num_classes", None) or None,
            notes=_notes(request, config, pretrained),
            arguments=("num_classes",),
        ),
    )


def is_registered(name: str) -> bool:
    """Whether timm's registry has an architecture of this name, with or without a tag of weights."""
    import timm

    return bool(timm.is_model(name.partition(".")[0]))


def nearest(name: str) -> list[str]:
    """At most three names of built-in and timm models that are spelled like this one, nearest first."""
    import timm

    names = [*BUILTINS, *timm.list_models(), *(timm.list_models(pretrained=True) if "." in name else [])]
    return difflib.get_close_matches(name, names, n=MATCHES)


def _registered(spec: str) -> str:
    """The name as `timm.create_model` wants it; raises for names that timm does not know."""
    if spec.startswith(HUB_PREFIXES):
        return spec
    name = spec.removeprefix(OWN_PREFIX)
    if is_registered(name):
        return name
    matches = nearest(name)
    hint = f"did you mean {', '.join(matches)}?" if matches else "give a timm name or FILE.py:FACTORY"
    raise ModelError(f"there is no model {spec!r}", hint)


def _published(name: str, request: ModelRequest, pretrained: bool) -> str:
    """Where the published weights lie; makes sure that they can be had if they are wanted."""
    import timm

    cache_dir = request.arguments.get("cache_dir")
    cache = str(cache_dir) if cache_dir is not None else None
    if name.startswith(HUB_PREFIXES):
        # The architecture itself is described on the hub, so this is needed with any weights.
        hint = OFFLINE_HINT if pretrained else "give the plain timm name of the architecture instead"
        require(name.partition(":")[2], (CONFIG_FILE,), hint, cache)
        return name
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        hint = f"did you mean {', '.join(nearest(name))}?"
        raise ModelError(f"timm has no weights {name!r}", hint) from None
    if not pretrained:
        return name
    if config is None or not config.has_weights:
        raise ModelError(f"timm publishes no weights for {name}", OFFLINE_HINT)
    if not config.hf_hub_id:
        return f"timm ({config.url})"
    files = (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHT_FILES
    require(config.hf_hub_id, files, OFFLINE_HINT, cache)
    return f"hf-hub:{config.hf_hub_id}"


def _create(name: str, request: ModelRequest, pretrained: bool) -> nn.Module:
    import timm

    arguments: dict[str, Any] = dict(request.arguments)
    try:
        with seeded(request.seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:
        if is_download_error(error):
            raise failure(name, error, OFFLINE_HINT) from error
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise ModelError(f"timm cannot build {request.spec}: {reason}", "check --model-arg") from error
    return network


def _metadata(network: nn.Module, request: ModelRequest) -> Preprocessing:
    """The preprocessing of the weights, at the size and the channel count of the network that was built."""
    from timm.data.config import resolve_model_data_config

    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    metadata = from_config(config, f"timm's metadata of {request.spec}")
    channels, height, width = config["input_size"]
    size = request.arguments.get("img_size")
    if isinstance(size, int):
        height, width = size, size
    return replace(metadata, input_shape=(first_channels(network) or channels, height, width))


def _notes(request: ModelRequest, config: dict[str, Any], pretrained: bool) -> tuple[str, ...]:
    asked, published = request.arguments.get("num_classes"), config.get("num_classes")
    if pretrained and asked is not None and asked != published:
        return (f"the last layer is random: {asked} classes were asked for, the weights have {published}",)
    return ()
