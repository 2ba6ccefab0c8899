"""The families by name, and their cases run one after the other in a process that may die."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from queue import Empty
from typing import Any

import numpy as np

from . import arrays, files, images, networks, options, runs_twice, saved
from .case import Family
from .running import LIMIT_S, Ending, by_command, in_process, left_behind, workplace

FAMILIES: dict[str, Family] = {
    "bytes": files.damaged_bytes,
    "archive": files.damaged_archive,
    "program": files.damaged_program,
    "onnx": files.damaged_onnx,
    "record": saved.damaged_record,
    "run": saved.damaged_run,
    "baseline": saved.damaged_baseline,
    "profile": saved.damaged_profile,
    "options": options.odd_options,
    "subject": options.odd_subjects,
    "outputs": networks.odd_outputs,
    "forwards": networks.odd_forwards,
    "factories": networks.odd_factories,
    "npz": arrays.odd_archives,
    "folder": images.odd_folders,
    "listing": images.odd_listings,
    "places": runs_twice.odd_places,
    "surroundings": runs_twice.odd_surroundings,
}


def run_case(family: str, seed: int, number: int, *, command: bool) -> Ending:
    """One case, in a folder of its own."""
    draws = np.random.default_rng([seed, list(FAMILIES).index(family), number])
    with workplace() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = FAMILIES[family](draws, folder, number)
        ending = (by_command if command or case.command_only else in_process)(case, folder)
        left = left_behind(folder)
    if left and not ending.fault:
        return Ending(ending.case, ending.code, ending.duration_s, ending.error, f"left behind: {left}")
    return ending


def _work(family: str, seed: int, numbers: list[int], command: bool, results: Any) -> None:
    import torch

    torch.set_num_threads(1)
    for number in numbers:
        results.put(("start", family, number))
        results.put(("end", run_case(family, seed, number, command=command)))


def run_family(family: str, seed: int, numbers: list[int], *, command: bool) -> list[tuple[str, Ending | None]]:
    """The endings of cases, each with the name of the last case begun; None where the process itself died or hung."""
    context = multiprocessing.get_context("spawn")
    endings: list[tuple[str, Ending | None]] = []
    left = list(numbers)
    while left:
        results = context.Queue()
        process = context.Process(target=_work, args=(family, seed, left, command, results))
        process.start()
        current, last = left[0], time.monotonic()
        done: list[int] = []
        while len(done) < len(left):
            try:
                message = results.get(timeout=1)
            except Empty:
                if process.is_alive() and time.monotonic() - last < 2 * LIMIT_S + 60:
                    continue
                process.kill()
                endings.append((f"{family} {current}", None))
                done.append(current)
                break
            last = time.monotonic()
            if message[0] == "start":
                current = message[2]
            else:
                endings.append((f"{family} {current}", message[1]))
                done.append(current)
        process.join(5)
        left = [number for number in left if number not in done]
    return endings
