"""Where `lsa-audit harden` has its data and the options of the model from: the command line, or the latest scan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AuditError, UsageError

if TYPE_CHECKING:
    from ..hardening.reference import Scanned
    from ..records import AuditRecord
    from ..settings.profile import Profile

_SCAN = """
    data samples slice labels attacks noises norm epsilon layers measure eta neurons budget drop_value probes
    filter_samples gates waivers seed batch_size precision compile save_adversarials gallery device threads
"""
OF_THE_SCAN = frozenset(_SCAN.split())
"""Settings that say what a scan does. All others say what the model is and where its data lie: these are taken over."""
GIVEN_ONLY = frozenset({"allow_code", "trusted", "limits"})
"""What a record can never decide."""
IMAGES = frozenset({"data", "samples", "slice", "seed", "data_root", "offline"})


@dataclass(frozen=True)
class HardenSource:
    """What the latest scan of the model gives.

    Attributes:
        data: the name of its data, where they are taken.
        settings: of the model, raw.
        seed: of the model's random weights, where it has some.
        scanned: what the clean accuracy is held against; None: no scan, or one that says nothing of these data.
        said: a line on what is taken.
    """

    data: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    scanned: Scanned | None = None
    said: str = ""


def source_of(
    folder: Path, model: str, base: Mapping[str, Any], given: Mapping[str, Any], test: str | None
) -> HardenSource:
    """What the latest scan of the model in the folder gives to a hardening.

    Where nothing else names data, they come from that scan, and with them every option of the model. Otherwise only its
    clean accuracy counts, and only where it was on the same data.

    Args:
        base, given: raw settings of the profile, and of the command line.
        test: what the command line names to judge on.

    Raises:
        UsageError: nothing names data; an option contradicts the scan whose data are taken.
        UnsafeError: the record alone would decide what code runs.
        ProfileError: settings that cannot be read.
    """
    from ..page.text import name
    from ..runs.latest import latest_run, unfinished
    from ..runs.reading import read_run, to_reload

    found = latest_run(folder, model)
    # A profile as `init` writes it names every setting: what is as usual there was not asked for.
    own, usual = _profile("profile", base), _profile("profile", {})
    asked = {key: value for key, value in base.items() if getattr(own, key) != getattr(usual, key)}
    asked.update(given)
    data = asked.get("data")
    if found is None:
        if data is None:
            hint = (
                f"name it with --data, or in a profile with --profile, or scan the model first: {folder}/ is looked at"
            )
            left = unfinished(folder)
            aside = f" ({name(str(left[-1]))} is an unfinished run and does not count)" if left else ""
            raise UsageError(f"nothing says what data to train {model} on{aside}", hint)
        return HardenSource()
    run, record = found
    shown = name(str(run))
    if data is not None:
        return HardenSource(scanned=_held_against(shown, *read_run(run), asked, (data, test)))
    _, settings = to_reload(record, model, given)
    settings = {key: value for key, value in settings.items() if key not in OF_THE_SCAN | GIVEN_ONLY}
    of_scan = _profile(f"scan {shown}", settings)
    _refuse_contradictions(shown, of_scan, asked)
    spec = str(record.settings["data"])
    lines = [f"{name(key)} {name(str(value))}" for key, value in _unusual(of_scan).items()]
    said = f"data: {name(spec)}, as in the scan {shown}" + (f"; so are {', '.join(lines)}" if lines else "")
    scanned = _scanned(shown, *read_run(run), taken=True)
    seed = record.settings.get("seed")
    return HardenSource(
        _whole(spec), settings, seed if of_scan.random_weights else None, scanned, said + _trained_on(spec)
    )


def _held_against(
    shown: str,
    record: AuditRecord,
    evidence: Mapping[str, Any],
    asked: Mapping[str, Any],
    specs: tuple[str | None, ...],
) -> Scanned | None:
    """The scan, if it was on one of these data."""
    scanned_on = str(record.settings["data"])
    if not any(_is_same(scanned_on, spec) for spec in specs if spec is not None):
        return None
    settings = {key: value for key, value in record.settings.items() if key not in OF_THE_SCAN | GIVEN_ONLY}
    try:
        return _scanned(shown, record, evidence, False, _unlike(_profile(f"scan {shown}", settings), asked))
    except AuditError:
        # Settings of another version: nothing was asked of this scan, so nothing is refused for its sake.
        return None


def _scanned(
    shown: str, record: AuditRecord, evidence: Mapping[str, Any], taken: bool, unlike: tuple[str, ...] = ()
) -> Scanned:
    from ..hardening.reference import Scanned

    images = {key: value for key, value in record.settings.items() if key in IMAGES}
    return Scanned(shown, record, evidence, _profile(f"scan {shown}", images), taken, unlike)


def _profile(source: str, settings: Mapping[str, Any]) -> Profile:
    from ..scanning.audit import make_profile

    return make_profile({source: settings})


def _unusual(profile: Profile) -> dict[str, Any]:
    """The settings of the model that are no defaults, as the command line writes them."""
    usual = type(profile)()
    return {
        key.replace("_", "-"): _written(value)
        for key in type(profile).model_fields
        if key not in OF_THE_SCAN | GIVEN_ONLY and (value := getattr(profile, key)) != getattr(usual, key)
    }


def _refuse_contradictions(shown: str, of_scan: Profile, asked: Mapping[str, Any]) -> None:
    found = _unlike(of_scan, {key: value for key, value in asked.items() if key in type(of_scan).model_fields}, asked)
    if found:
        raise UsageError(
            f"data come from the scan {shown}, and {'; '.join(found)}",
            "leave that out, scan again with it, or name the data with --data",
        )


def _unlike(of_scan: Profile, asked: Mapping[str, Any], only: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Options of the model that differ, each with both values.

    Args:
        only: the settings that are compared; None: all.
    """
    settings = {key: value for key, value in asked.items() if key not in OF_THE_SCAN | GIVEN_ONLY}
    ours = _profile("asked", settings)
    names = [key for key in type(of_scan).model_fields if key not in OF_THE_SCAN | GIVEN_ONLY]
    found = []
    for key in names if only is None else [key for key in names if key in only]:
        theirs, here = getattr(of_scan, key), getattr(ours, key)
        if _comparable(theirs) != _comparable(here):
            option = f"--{key.replace('_', '-')}".replace("--model-args", "--model-arg")
            found.append(f"{option} is {_written(here)} here and {_written(theirs)} there")
    return tuple(found)


def _comparable(value: Any) -> Any:
    """One number for all channels is the same as that number for each; a path is the same however it is written."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[:1]
    return os.path.normpath(value) if isinstance(value, str) else value


def _written(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value)
    if isinstance(value, Mapping):
        return ",".join(f"{key}={entry}" for key, entry in value.items()) or "none"
    return "not given" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _whole(spec: str) -> str:
    """A named set as a whole, whichever part the scan looked at."""
    return _set_of(spec) or spec


def _is_same(scanned: str, spec: str) -> bool:
    """Whether two specs name the same set, folder or file."""
    if _set_of(scanned) or _set_of(spec):
        return _set_of(scanned) == _set_of(spec)
    return os.path.normpath(scanned) == os.path.normpath(spec)


def _set_of(spec: str) -> str | None:
    """The named set; None for a path. A part that does not exist is told where the data are loaded."""
    from ..data import named

    try:
        found = named(spec)
    except AuditError:
        return None
    return found.name if found else None


def _trained_on(spec: str) -> str:
    return "" if _set_of(spec) else "; most of its images are trained on: scan the result on others"
