"""Which gates and waivers a command asks, and where they stand."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProfileError, UsageError

if TYPE_CHECKING:
    from ..gating.verdict import Question
    from ..records import AuditRecord
    from ..settings.gates import Gate, Waiver
    from ..settings.profile import Profile

DEFAULT = "default"


def of_scan(profile: Profile, name: str) -> Question:
    """The gates and waivers of the settings of a scan.

    Args:
        name: of the profile that the settings come from.
    """
    if profile.gates is None:
        return _of_preset(DEFAULT, profile.waivers)
    return _question(profile.gates, _shown(name), profile.waivers, _lines(name, profile.gates))


def of_run(settings: Mapping[str, Any], profile: str | None, preset: str | None, waivers: Path | None) -> Question:
    """What `gate` asks of a run: the gates of the profile, else of the preset, else the run's own, else the default.

    The run's own waivers count only where neither profile nor preset is named: whoever names the gates excuses.

    Args:
        settings: of the run.
        waivers: a file with more of them.

    Raises:
        ProfileError: every mistake in a profile, in the run's settings or in the file of waivers.
        UsageError: no such preset.
    """
    from ..settings.gates import PRESETS

    extra = () if waivers is None else _waivers_of(waivers)
    named = None if profile is None else _profile(profile)
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"there is no preset {preset}", f"there are {', '.join(PRESETS)}")
    own = None if preset or (named and named.gates is not None) else _own(settings)
    excused = named.waivers if named else own.waivers if own else ()
    if profile is not None and named and named.gates is not None:
        return _question(named.gates, _shown(profile), excused + extra, _lines(profile, named.gates))
    if own and own.gates is not None:
        return _question(own.gates, None, excused + extra)
    return _of_preset(preset or DEFAULT, excused + extra)


def measures(gates: Mapping[str, Gate], record: AuditRecord) -> Collection[str]:
    """The perturbations of a run whose layers gates look at image by image."""
    from ..gating.verdict import measures_needed

    return measures_needed(gates, record)


def _of_preset(name: str, waivers: tuple[Waiver, ...]) -> Question:
    from ..settings.gates import preset

    return _question(preset(name), f"preset {name}", waivers)


def _question(
    gates: Mapping[str, Gate], where: str | None, waivers: tuple[Waiver, ...], lines: Mapping[str, int] | None = None
) -> Question:
    from ..gating.verdict import Question

    today = datetime.now(UTC).date()
    return Question(gates=gates, waivers=waivers, lines=lines or {}, profile=where, today=today)


def _profile(name: str) -> Profile:
    from ..settings import profile as profiles

    return _built(f"profile {name}", profiles.read(name))


def _own(settings: Mapping[str, Any]) -> Profile:
    """Only what is asked: the other settings may be those of another version."""
    return _built("the run's settings", {key: settings[key] for key in ("gates", "waivers") if key in settings})


def _waivers_of(path: Path) -> tuple[Waiver, ...]:
    from ..settings.plain_yaml import PlainYamlError, read_mapping

    hint = "write `waivers:` and a list of entries with gate, reason and expires"
    try:
        values = read_mapping(path)
    except PlainYamlError as error:
        raise ProfileError(f"waivers {path.name}: {error}", hint) from None
    if set(values) != {"waivers"}:
        raise ProfileError(f"waivers {path.name}: it must hold `waivers` and nothing else", hint)
    return _built(f"waivers {path.name}", values).waivers


def _built(source: str, values: Mapping[str, Any]) -> Profile:
    from ..attacks import ATTACKS
    from ..settings.profile import build

    return build({source: values}, ATTACKS, ATTACKS)


def _is_file(profile: str) -> bool:
    from ..settings.profile import presets

    return profile not in presets()


def _lines(profile: str, gates: Mapping[str, Gate]) -> dict[str, int]:
    """The line of each gate in the file; those of a `preset` stand where it is named."""
    from ..settings.plain_yaml import key_lines

    if not _is_file(profile):
        return {}
    written = key_lines(Path(profile), "gates")
    return {key: line for key in gates if (line := written.get(key, written.get("preset"))) is not None}


def _shown(profile: str) -> str:
    """A file as seen from the working folder, without the way to it where it lies elsewhere."""
    if not _is_file(profile):
        return f"profile {profile}"
    path, here = Path(profile).resolve(), Path.cwd().resolve()
    shown = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    # A name that is no UTF-8 cannot stand in JSON.
    return os.fsencode(shown).decode(errors="replace")
