"""Runs `lsa-audit` in forked children of one process that has imported everything already.

Reads one JSON object a line, {"arguments": [...], "folder": ..., "seconds": ...}, and answers with one: exit code,
stdout, stderr, peak memory in bytes.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

import typer.main

from lsa_audit.__main__ import main

# What a child would import for itself.
MODULES = (
    *("lsa_audit.models.exported", "lsa_audit.models.onnx", "lsa_audit.models.torchscript"),
    *("onnxruntime", "safetensors.torch", "timm"),
)


def serve() -> None:
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in MODULES:
        importlib.import_module(name)
    typer.main.get_command = functools.cache(typer.main.get_command)
    # A first run imports and compiles what all of them need. It starts no threads, which would not survive a fork.
    main(["layers", "digits-cnn"])
    # A child that looks for garbage would write into, and so copy, every page that it shares with its parent.
    gc.collect()
    gc.freeze()
    channel.write("ready\n")
    for line in sys.stdin:
        channel.write(json.dumps(answer(**json.loads(line))) + "\n")


def answer(arguments: list[str], folder: str, seconds: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place) / name for name in ("stdout", "stderr", "memory")]
        child = os.fork()
        if child == 0:
            _run(arguments, folder, streams)
        code = _wait(child, seconds)
        out, err, memory = (path.read_text(errors="replace") if path.exists() else "" for path in streams)
    return {"code": code, "out": out, "err": err, "peak_bytes": int(memory or 0)}


def _run(arguments: list[str], folder: str, streams: list[Path]) -> None:
    code = 99
    try:
        for target, path in zip((1, 2), streams, strict=False):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), target)
        os.chdir(folder)
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        streams[2].write_text(str(int(peak[1]) * 1024) if peak else "")
        # What hangs on the end of a process (threads, temporary files of the parent) is the parent's.
        os._exit(code)


def _wait(child: int, seconds: float) -> int:
    """The exit code; negative for a signal, so -9 after the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve()
