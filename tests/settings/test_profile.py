"""Profiles: every shipped one loads, every mistake is named, and hostile YAML stays data."""

from __future__ import annotations

import re

import pytest
import yaml

from lsa_audit.attacks import ATTACKS
from lsa_audit.errors import ProfileError
from lsa_audit.scanning.plan import perturbations
from lsa_audit.settings.gates import PRESETS, preset
from lsa_audit.settings.profile import Profile, build, presets, read

NAMES = list(ATTACKS)
NOISES = [name for name, entry in ATTACKS.items() if entry.kind == "noise"]


def made(**values: object) -> Profile:
    return build({"test": values}, NAMES, NOISES)


def test_the_presets_are_the_files_of_the_profiles_folder():
    assert sorted(presets()) == ["ci", "deep", "demo", "quick", "standard"]


@pytest.mark.parametrize("name", ["ci", "deep", "demo", "quick", "standard"])
def test_every_preset_loads_and_can_be_planned(name):
    planned = perturbations(build({name: read(name)}, NAMES, NOISES))
    assert len({entry.id for entry in planned}) == len(planned) > 5


def test_standard_spells_out_the_defaults_and_every_key():
    assert build({"standard": read("standard")}, NAMES, NOISES) == made()
    assert set(read("standard")) == set(Profile.model_fields)


def test_later_sources_go_before_earlier_ones():
    profile = build({"profile x": {"samples": 5, "seed": 3}, "command line": {"samples": 7}}, NAMES, NOISES)
    assert (profile.samples, profile.seed) == (7, 3)


def test_all_mistakes_are_reported_at_once_with_their_source():
    with pytest.raises(ProfileError) as caught:
        build(
            {
                "profile x": {
                    "smaples": 5,
                    "eta": -1,
                    "labels": "maybe",
                    "attacks": ["fgsm", {"name": "pgd", "step": 4}],
                },
                "command line": {"epsilon": ["2/255", "-1"], "batch_size": "many"},
            },
            NAMES,
            NOISES,
        )
    message = str(caught.value)
    for part in (
        "profile x: smaples is not a setting (did you mean samples?)",
        "profile x: eta: ",
        "profile x: labels: ",
        "profile x: attacks[1].step is not a setting (did you mean steps?)",
        "command line: epsilon[1]: ",
        "command line: batch_size: ",
    ):
        assert part in message
    assert "\n" not in message


# The lowest and the highest value of a setting, and the next ones that are refused.
ENDS: list[tuple[str, object, object]] = [
    ("classes", 2, 1),
    ("crop", 1.0, 1.01),
    ("crop", 0.01, 0.0),
    ("label_offset", -1000, -1001),
    ("label_offset", 1000, 1001),
    ("samples", 1, 0),
    ("batch_size", 1, 0),
    ("eta", 0.0, -0.1),
    ("budget", 0.5, 0.0),
    ("filter_samples", 1, 0),
    ("seed", 0, -1),
    ("seed", 2**63 - 1, 2**63),
    ("gallery", 0, -1),
    ("gallery", 64, 65),
    ("epsilon", [0.0], [-0.1]),
]


@pytest.mark.parametrize(("name", "last", "beyond"), ENDS)
def test_a_setting_is_taken_up_to_its_end_and_refused_beyond(name: str, last: object, beyond: object):
    found = getattr(made(**{name: last}), name)
    assert (list(found) if isinstance(last, list) else found) == last
    with pytest.raises(ProfileError, match=name):
        made(**{name: beyond})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"attacks": ["pdg"]}, "'pdg' is not known (did you mean pgd?)"),
        ({"attacks": []}, "attacks"),
        ({"noises": ["fgsm"]}, "'fgsm' is not known"),
        ({"epsilon": []}, "epsilon"),
        ({"epsilon": [float("nan")]}, "epsilon"),
        ({"std": [0.0]}, "above 0"),
        ({"slice": "1-5"}, "slice"),
        ({"input_size": "32,32"}, "input_size"),
        ({"samples": 0}, "samples"),
        ({"samples": True}, "samples"),
        ({"seed": -1}, "seed"),
        ({"norm": "l7"}, "norm"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(ProfileError) as caught:
        made(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "samples: 5\nsamples: 6",
        "a: &x [1]\nb: *x",
        "- samples",
        "just words",
        "samples: [",
        "1: 2",
    ],
)
def test_yaml_that_is_not_a_plain_mapping_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError):
        read(str(path))


def test_a_date_is_not_a_setting(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("data: 2026-01-01")
    with pytest.raises(ProfileError):
        build({"p": read(str(path))}, NAMES, NOISES)


def test_a_missing_profile_names_the_presets():
    with pytest.raises(ProfileError, match="presets are ci, deep, demo, quick, standard"):
        read("nowhere.yaml")


def test_an_oversized_profile_is_not_read(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(b"# " + b"x" * (1 << 20))
    with pytest.raises(ProfileError, match="larger than"):
        read(str(path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": 0}, "budget: "),
        ({"budget": -1}, "budget: "),
        ({"budget": float("nan")}, "budget: "),
        ({"budget": float("inf")}, "budget: "),
        ({"budget": "all"}, "budget: "),
        ({"drop_value": "median"}, "'zero' or 'mean'"),
        ({"probes": ["pathcing"]}, "'patching' or 'filters'"),
        ({"probes": "patching"}, "probes: "),
        ({"filter_samples": 0}, "filter_samples: "),
        ({"filter_samples": None}, "filter_samples: "),
        ({"neurons": ""}, "neurons: "),
        ({"neurons": None}, "neurons: "),
        ({"neuron": "all"}, "did you mean neurons?"),
    ],
)
def test_bad_values_for_what_is_measured_inside_are_refused(values, message):
    with pytest.raises(ProfileError) as caught:
        made(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_budgets_of_the_presets_rise_with_their_depth():
    budgets = {name: build({name: read(name)}, NAMES, NOISES).budget for name in presets()}
    assert budgets["quick"] < budgets["standard"] == budgets["demo"] < budgets["deep"]
    assert made(budget=None).budget is None
    assert made(probes=[]).probes == ()


def test_the_gates_of_ci_hold_those_of_the_default_preset_and_more():
    gates = build({"ci": read("ci")}, NAMES, NOISES).gates
    assert gates is not None
    assert gates.items() >= preset("default").items()
    assert {key: gate.level for key, gate in gates.items() if key not in PRESETS["default"]} == {"mvl": "warn"}


def test_what_ci_shows_in_comments_can_be_written_so():
    text = presets()["ci"].read_text(encoding="utf-8").replace("waivers: []", "waivers:")
    shown = re.sub(r"^( *)# (?=[a-z_]+@|- gate|  [a-z]+: )", r"\1", text, flags=re.MULTILINE)
    profile = build({"ci": yaml.safe_load(re.sub(r"expires: (.*)", r"expires: '\1'", shown))}, NAMES, NOISES)
    assert profile.gates is not None
    assert {"relative_error@layer4.*", "fragile_neurons@conv1"} < set(profile.gates)
    assert [waiver.expires.isoformat() for waiver in profile.waivers] == ["2027-01-31"]
