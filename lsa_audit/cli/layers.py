"""`lsa-audit layers`: the layers of a model, without an audit."""

from __future__ import annotations

from typing import Annotated

import typer

from ..progress.interrupts import deferred
from . import options


def command(
    model: options.Model,
    data: options.Data = None,
    profile: options.Profile = "standard",
    arch: options.Arch = None,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    classes: options.Classes = None,
    logits: options.Logits = None,
    outputs_are: options.OutputsAre = None,
    label_offset: options.LabelOffset = None,
    allow_code: options.AllowCode = None,
    trust: options.Trust = None,
    model_arg: options.ModelArg = None,
    seed: options.Seed = None,
    device: options.Device = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, every field.")] = False,
) -> int:
    """List the layers of MODEL: kind, op, output shape, neurons, parameters, FLOPs."""
    from ..settings import profile as profiles

    # An interrupt inside torch's own start would end the process in a crash.
    with deferred():
        from ..scanning.audit import layer_table, make_profile
    from ..reporting.terminal import layers_table
    from .console import Console

    values = options.given(
        data=data,
        arch=arch,
        checkpoint=checkpoint,
        weights=weights,
        random_weights=random_weights,
        mean=options.numbers("--mean", mean),
        std=options.numbers("--std", std),
        input_size=input_size,
        crop=crop,
        interpolation=interpolation,
        layout=layout,
        channel_order=channel_order,
        classes=classes,
        logits=logits,
        outputs_are=outputs_are,
        label_offset=label_offset,
        allow_code=allow_code,
        trusted=options.words(trust),
        model_args=options.arguments(model_arg),
        seed=seed,
        device=device,
    )
    base = profiles.read(profile, values)
    info = layer_table(model, make_profile({f"profile {profile}": base, "command line": values}))
    if json:
        typer.echo(info.model_dump_json(indent=2).encode())
    else:
        Console().print(layers_table(info))
    return 0
