"""What a model's own code raises is the model's fault: it becomes one line for the user, never an internal error."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import AuditError, ModelError, first_line

FORWARD = "the model's forward failed"
BACKWARD = "the model's own backward failed"
RESULTS = re.compile(r"Function \w+ returned an? (invalid|incorrect)")
"""How torch begins when the gradients that a backward returned are of another shape or number than its inputs."""

PACKAGE = Path(__file__).parent.parent


def mark(error: Exception, shape: Sequence[Any]) -> None:
    """Note that a forward on images of this shape raised the error, whose type callers may look at."""
    error.add_note(f"{FORWARD} on images of shape {' x '.join(str(size) for size in shape)}")


@contextmanager
def forward_failures() -> Iterator[None]:
    """What a model's forward or own backward raises inside becomes a ModelError; everything else goes on as it is.

    Also a decorator.

    Raises:
        ModelError: one of them raised.
    """
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        where = next((note for note in getattr(error, "__notes__", ()) if note.startswith(FORWARD)), None)
        hint = "the model must take batches of any size; --batch-size sets that of the scan"
        if where is None and _in_own_backward(error):
            where, hint = BACKWARD, "fix the backward of its torch.autograd.Function"
        if where is None:
            raise
        reason = first_line(error)[:300]
        raise ModelError(f"{where}: {type(error).__name__}: {reason}", hint) from error


def _in_own_backward(error: Exception) -> bool:
    """Whether the error came out of the backward of a torch.autograd.Function that is not ours, or of its results."""
    if RESULTS.match(first_line(error)):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.name == "backward" and PACKAGE not in Path(frame.filename).parents]
    return any("torch" not in Path(frame.filename).parts for frame in own)
