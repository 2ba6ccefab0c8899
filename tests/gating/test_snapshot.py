"""From a record to a snapshot, and back from packed fields that strangers may have made."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from lsa_audit.errors import DataError
from lsa_audit.gating.snapshot import check, digests, flags, pack, robust, snapshot, values
from lsa_audit.gating.verdict import measures_needed
from lsa_audit.records.snapshot import Flags, NeuronCount, Snapshot
from lsa_audit.settings.gates import preset

from ..reporting.builders import RESNET, build, dropped
from .builders import IMAGES, PGD, ROBUST, first, gates, judged, layers, snap, spread

N = 200


def evidence(**changes):
    """Of the record that `build` makes: the first images are right."""
    record = build()
    arrays = {
        "labels": np.zeros(N, dtype=np.int64),
        "clean_predictions": (~first(183, N)).astype(np.int64),
        "image_digests": np.frombuffer(np.arange(N, dtype="<u8").tobytes(), np.uint8).reshape(N, 8),
    }
    for result in record.attacks:
        arrays[f"right/{result.perturbation.id}"] = first(result.robust_accuracy.count, N)
        arrays[f"measure/{result.perturbation.id}"] = spread([1.0] * len(RESNET), N).astype(np.float32)
    return {**arrays, **changes}


def test_a_snapshot_of_a_record_keeps_what_is_compared():
    record = build(neurons=(dropped("conv1", PGD),))
    last = record.attacks[-1].perturbation.id
    found = snapshot(record, evidence(), "nightly", [last])
    assert (found.name, found.seed, found.model, found.findings) == ("nightly", 0, record.model, record.findings)
    assert flags(found.clean).sum() == record.clean.count
    for result in record.attacks:
        assert robust(found, [result.perturbation.id]).sum() == result.robust_accuracy.count
    assert [entry.values is not None for entry in found.measured] == [False, False, False, True]
    assert values(found.measured[-1], N) == pytest.approx(spread([1.0] * len(RESNET), N), rel=1e-6)
    assert [state.mean for state in found.measured[0].layers] == [each.mean for each in record.sustainability[0].layers]
    classes = [neuron.clean.neuron_class for neuron in record.neurons[0].neurons]
    assert found.neurons == (NeuronCount(layer="conv1", fragile=classes.count("fragile"), neurons=16),)
    assert digests(found).tolist() == list(range(N))


def test_an_image_is_robust_when_it_is_right_before_and_after():
    last = build().attacks[-1]
    right = first(last.robust_accuracy.count, N)
    found = snapshot(build(), evidence(**{f"right/{last.perturbation.id}": right | ~first(183, N)}), "run")
    assert (robust(found, [last.perturbation.id]) == right).all()


@pytest.mark.parametrize("name", ["clean_predictions", "right/pgd@linf-0.0313725"])
def test_a_record_that_counts_other_images_right_is_refused(name):
    arrays = evidence()
    arrays[name] = arrays[name].copy()
    arrays[name][0] ^= 1
    with pytest.raises(DataError, match=r"record\.json counts \d+ images right .*, evidence\.npz \d+"):
        snapshot(build(), arrays, "run")


def test_a_snapshot_survives_its_json():
    found = snap(measured=(layers({"conv1": 1.0, "fc": 2.0}, values=spread([1.0, 2.0])),))
    assert Snapshot.model_validate_json(found.model_dump_json()) == found


def test_a_snapshot_is_small():
    assert len(snap(images=10_000).model_dump_json()) < 8 * 10_000 * 4 / 3 + 4 * 10_000 / 8 * 4 / 3 + 8_000


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": np.zeros(N - 1, dtype=np.int64)},
        {"labels": np.zeros(N)},
        {"clean_predictions": np.zeros((N, 2), dtype=np.int64)},
        {"image_digests": np.zeros((N, 9), dtype=np.uint8)},
        {"right/pgd@linf-0.0313725": np.zeros(N, dtype=np.float64)},
        {"measure/pgd@linf-0.0313725": np.zeros((len(RESNET) + 1, N), dtype=np.float32)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_arrays_of_other_shapes_and_types_are_refused(changed):
    with pytest.raises(DataError, match="not as a scan writes it"):
        snapshot(build(), evidence(**changed), "run", ["pgd@linf-0.0313725"])


@pytest.mark.parametrize("name", ["labels", "right/pgd@linf-0.0313725"])
def test_missing_arrays_are_named(name):
    arrays = evidence()
    del arrays[name]
    with pytest.raises(DataError, match=f"holds no {name}"):
        snapshot(build(), arrays, "run")


def test_runs_without_digests_have_none():
    arrays = evidence()
    del arrays["image_digests"]
    assert digests(snapshot(build(), arrays, "run")) is None


@pytest.mark.parametrize("seed", [None, -1, "0", 2**63, 0.0])
def test_a_seed_that_is_no_seed_is_refused(seed):
    with pytest.raises(DataError, match="seed"):
        snapshot(build(settings={"seed": seed}), evidence(), "run")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_flags_come_back(count):
    truths = np.random.default_rng(count).random(count) < 0.5
    assert np.array_equal(flags(pack(truths)), truths)


@pytest.mark.parametrize(
    ("count", "bits"),
    [(9, "AA=="), (-1, ""), (10**12, "AA=="), (8, "AAA="), (8, "A"), (8, "Aä=="), (8, "!!!!")],
)
def test_hostile_flags_are_refused(count, bits):
    with pytest.raises(DataError):
        flags(Flags(count=count, bits=bits))


@pytest.mark.parametrize("content", ["", "AAAA", "not base64"])
def test_hostile_digests_are_refused(content):
    with pytest.raises(DataError):
        digests(snap(digests=content))


def test_the_same_digest_twice_is_refused():
    with pytest.raises(DataError, match="same image twice"):
        digests(snap(images=2, digests=base64.b64encode(bytes(16)).decode()))


@pytest.mark.parametrize(
    "packed",
    [b"", b"no zlib", zlib.compress(bytes(4 * 2 * 10 - 1)), zlib.compress(bytes(4 * 2 * 10 + 1))],
    ids=["empty", "other", "short", "long"],
)
def test_hostile_values_are_refused(packed):
    measured = layers({"conv1": 1.0, "fc": 1.0}).model_copy(update={"values": base64.b64encode(packed).decode()})
    with pytest.raises(DataError):
        values(measured, 10)


def test_a_bomb_is_not_unpacked():
    bomb = base64.b64encode(zlib.compress(bytes(100_000_000))).decode()
    measured = layers({"conv1": 1.0}).model_copy(update={"values": bomb})
    with pytest.raises(DataError, match="not those of 10 images"):
        values(measured, 10)
    with pytest.raises(DataError, match="above 1 GiB"):
        values(measured, 2**40)


def test_infinite_values_are_undefined():
    found = values(layers({"conv1": 1.0}, values=[[np.inf, -np.inf, np.nan, 1.0]]), 4)
    assert np.isnan(found).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize(
    "changed",
    [
        {"images": 0},
        {"seed": -1},
        {"judged": judged({PGD: first(5, 10)})},
        {"judged": judged({PGD: first(5)}) * 2},
        {"measured": (layers({"fc": 1.0}),) * 2},
        {"measured": (layers({"fc": 1.0}, ["conv1"]),)},
        {"neurons": (NeuronCount(layer="conv1", fragile=3, neurons=2),)},
        {"neurons": (NeuronCount(layer="conv1", fragile=10**400, neurons=10**401),)},
        {"neurons": (NeuronCount(layer="conv1", fragile=1, neurons=2),) * 2},
    ],
    ids=str,
)
def test_snapshots_that_contradict_themselves_are_refused(changed):
    with pytest.raises(DataError):
        check(snap(**changed))


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -1.0])
def test_epsilons_that_are_no_distance_are_refused(epsilon):
    entry = judged({PGD: first(5)})[0]
    wrong = entry.perturbation.model_copy(update={"epsilon": epsilon})
    with pytest.raises(DataError):
        check(snap(judged=(entry.model_copy(update={"perturbation": wrong}),)))


def test_which_single_image_values_gates_need():
    record = build()
    ids = [entry.perturbation for entry in record.sustainability]
    assert measures_needed(preset("default"), record) == ()
    assert measures_needed(preset("strict"), record) == (ids[-1],)
    written = {"relative_error": ["error", {"max": 1, "under": ids[0]}], "mvl": ["warn", {"max": 3}]}
    assert measures_needed(gates(written), record) == (ids[0],)
    assert measures_needed(gates({"relative_error@fc": ["off", {"max": 1}]}), record) == ()
    assert measures_needed(preset("strict"), build(sustainability=())) == ()


def test_the_builder_says_what_the_other_tests_rely_on():
    assert {name: int(robust(snap(), [name]).sum()) for name in ROBUST} == ROBUST
    assert snap().clean.count == IMAGES
