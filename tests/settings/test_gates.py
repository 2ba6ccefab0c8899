"""What a profile may say of gates and waivers."""

from __future__ import annotations

from datetime import date

import pytest

from lsa_audit.errors import ProfileError
from lsa_audit.settings.gates import GATES, PRESETS, Gate, preset, split
from lsa_audit.settings.profile import Profile, build


def built(**values: object) -> Profile:
    return build({"ci.yaml": values}, ["fgsm", "pgd", "cascade"], ["gaussian", "uniform", "salt", "pepper", "speckle"])


@pytest.mark.parametrize(
    ("written", "level", "limits"),
    [
        (["error", {"min": 0.9}], "error", {"min": 0.9}),
        (["warn", {"max_drop": 0.02, "alpha": 0.01}], "warn", {"max_drop": 0.02}),
        ({"min": 0.9}, "error", {"min": 0.9}),
        ({"level": "warn", "min": 0.9, "max_drop": 0}, "warn", {"min": 0.9, "max_drop": 0}),
        ("off", "off", {}),
        (False, "off", {}),
        ([False, {"min": 0.9}], "off", {"min": 0.9}),
    ],
)
def test_ways_to_write_a_gate(written, level, limits):
    gate = built(gates={"clean_accuracy": written}).gates["clean_accuracy"]
    assert (gate.level, gate.limits) == (level, limits)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"clean_acuracy": "error"}, "did you mean clean_accuracy?"),
        ({"clean_accuracy@conv1": ["error", {"min": 0.9}]}, "clean_accuracy takes no target"),
        ({"clean_accuracy": ["error", {"max": 0.9}]}, "takes no max; it takes min, max_drop"),
        ({"clean_accuracy": ["error", {"min": 90}]}, "less than or equal to 1"),
        ({"clean_accuracy": ["error", {"max_drp": 0.1}]}, "did you mean max_drop?"),
        ({"clean_accuracy": "error"}, "limits nothing"),
        ({"clean_accuracy": ["fatal", {"min": 0.9}]}, "'off', 'warn' or 'error'"),
        ({"clean_accuracy": ["error", {"min": 0.9, "alpha": 0}]}, "greater than 0"),
        ({"clean_accuracy": ["error", {"min": 0.9, "under": "pgd"}]}, "takes no under"),
        ({"clean_accuracy": 0.9}, "write [LEVEL, {LIMIT: VALUE}]"),
        ({"clean_accuracy": ["error", {"min": 0.9}, 3]}, "write [LEVEL, {LIMIT: VALUE}]"),
        ({"preset": "brave"}, "there are default, strict, warn"),
        (["clean_accuracy"], "object"),
    ],
)
def test_mistakes_are_named(gates, message):
    with pytest.raises(ProfileError) as caught:
        built(gates=gates)
    assert message in str(caught.value)


def test_all_mistakes_come_at_once():
    with pytest.raises(ProfileError) as caught:
        built(gates={"mvl": "error", "skiped": ["error", {"max": 0}]}, waivers=[{"gate": "mvl", "reason": " "}])
    for part in ("mvl limits nothing", "did you mean skipped?", "waivers[0].reason", "waivers[0].expires"):
        assert part in str(caught.value)


def test_what_is_given_goes_before_the_preset():
    gates = built(gates={"preset": "strict", "clean_accuracy": "off", "mvl@conv1": ["warn", {"no_new": True}]}).gates
    assert set(gates) == {*PRESETS["strict"], "mvl@conv1"}
    assert gates["clean_accuracy"].level == "off"
    assert gates["robust_accuracy"] == Gate(level="error", max_drop=0.01)


def test_settings_of_a_record_give_the_same_profile():
    profile = built(
        gates={"preset": "default", "relative_error@layer4.*": ["warn", {"max": 1.2}]},
        waivers=[{"gate": "skipped*", "reason": "known", "expires": date(2027, 1, 31)}],
    )
    assert profile.waivers[0].expires == date(2027, 1, 31)
    assert built(**profile.model_dump(mode="json")) == profile


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_gates(name):
    assert all(split(key)[0] in GATES and gate.limits for key, gate in preset(name).items())
