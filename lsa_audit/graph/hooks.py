"""Reads and replaces the outputs of modules through forward hooks that never stay behind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .structure import NETWORK

HookVisitor = Callable[[Tensor], Tensor | None]


def run_hooked(module: nn.Module, images: Tensor, visitors: Mapping[str, HookVisitor]) -> Tensor:
    """The logits of a PixelModel, while visitors see module outputs by site: `path`, or `path@k` for a further call."""
    paths = {site.partition("@")[0] for site in visitors}
    calls: dict[str, int] = {}

    def on_exit(path: str, output: Any) -> Any:
        count = calls.get(path, 0)
        calls[path] = count + 1
        visitor = visitors.get(site_of(path, count))
        value = first_tensor(output)
        replaced = visitor(value) if visitor is not None and value is not None else None
        if replaced is None:
            return None
        return replaced if isinstance(output, Tensor) else type(output)((replaced, *output[1:]))

    with hooked(module, paths, lambda path, _, output: on_exit(path, output)):
        logits: Tensor = module(images)
    return logits


@contextmanager
def hooked(
    module: nn.Module, paths: Collection[str] | None, on_exit: Callable[[str, Tensor | None, Any], Any]
) -> Iterator[None]:
    """Forward hooks on the network's modules at these paths (None: on all); removed on leaving, whatever happens.

    `on_exit(path, first tensor that came in, output)` runs after each call; what it returns replaces the output.
    Modules of TorchScript take no hooks: nothing is seen of them.
    """
    handles = []
    try:
        for path, child in module.get_submodule(NETWORK).named_modules():
            if (paths is None or path in paths) and not isinstance(child, torch.jit.ScriptModule):
                handles.append(child.register_forward_hook(_hook(path, on_exit), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def site_of(path: str, count: int) -> str:
    """Site of the call number `count`, from 0."""
    return f"{path}@{count}" if count else path


def first_tensor(value: Any) -> Tensor | None:
    """The value itself, or the first of a tuple or list, where that is a tensor."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _hook(path: str, on_exit: Callable[[str, Tensor | None, Any], Any]) -> Callable[..., Any]:
    def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        return on_exit(path, first_tensor((*arguments, *named.values())), output)

    return hook
