"""The whole of a hardening on tiny networks: formats in and out, three sets of images apart, and what is refused."""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from lsa_audit import models
from lsa_audit.errors import DataError, ModelError
from lsa_audit.hardening import harden as hardening
from lsa_audit.hardening.checks import Checks
from lsa_audit.hardening.harden import HardenRequest, dry_run, harden
from lsa_audit.hardening.training.loop import CHECKPOINT_NAME
from lsa_audit.models.request import ModelRequest
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import make_profile
from lsa_audit.settings.recipe import Recipe

from ..models.onnx import model_files
from .training.trainings import Constant, dataset, network

FAST = Checks(attacks=("fgsm", "pgd"), grid=(0.04, 0.08))
RECIPE = {"at": "fgsm", "epochs": 1, "batch_size": 32, "epsilon": 0.08, "lr": 0.01, "validation_steps": 2}
NORMALIZED = {"mean": [0.5], "std": [0.25], "input_size": "1x8x8"}


class Listening(Silent):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Columns of three classes as files, and the network that knows them in three formats."""
    place = tmp_path_factory.mktemp("columns")
    for name, count, seed in (("train", 150, 0), ("test", 60, 7)):
        data = dataset(count, seed)
        numpy.savez(place / f"{name}.npz", images=data.pixels[:, 0].numpy(), labels=data.labels.numpy())
    example = dataset().images(0, 4)
    torch.jit.trace(network(), example).save(str(place / "columns.pt"))
    batch = torch.export.Dim("batch", min=2, max=512)
    torch.export.save(
        torch.export.export(network(), (example,), dynamic_shapes=({0: batch},)), str(place / "columns.pt2")
    )
    torch.jit.freeze(torch.jit.script(network())).save(str(place / "frozen.pt"))
    torch.jit.trace(Constant().eval(), example).save(str(place / "constant.pt"))
    model_files.save(model_files.cnn("n"), place)
    return place


def profile(**settings):
    return make_profile({"test": {"threads": 1, **settings}})


def hardened(subject, data, out, settings=None, progress=None, profile_settings=None, **wanted):
    wanted = HardenRequest(Recipe(**{**RECIPE, **(settings or {})}), str(data), **{"checks": FAST, **wanted})
    out.mkdir(exist_ok=True)
    return harden(str(subject), profile(**(profile_settings or {})), wanted, out, progress or Silent())


def loaded(path, **settings):
    return models.load(ModelRequest(str(path), **settings))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The network of the package, hardened on digits; the folder, the record and what was said."""
    out, heard = tmp_path_factory.mktemp("digits"), Listening()
    settings = {"reg": "atlr", "max_clean_drop": 0.2}
    result = hardened("digits-cnn", "digits", out, settings, heard, samples=300, test_samples=60)
    return out, result, heard.said


def test_a_network_of_the_package_becomes_safetensors_with_a_sidecar(digits):
    out, result, _ = digits
    assert result.record.file is not None
    assert result.record.file.difference <= 1e-5
    assert {"digits-cnn-hardened.safetensors", "digits-cnn-hardened.yaml", CHECKPOINT_NAME, "training.jsonl"} == {
        entry.name for entry in out.iterdir()
    }
    again = loaded(out / "digits-cnn-hardened.safetensors")
    before = loaded("digits-cnn")
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(again.module(images), before.module(images), atol=1e-3)
    checkpoint = torch.load(out / CHECKPOINT_NAME, weights_only=True)
    for name, value in again.module.state_dict().items():
        assert torch.equal(value, checkpoint["best"][name]), name


def test_the_record_holds_the_choice_the_training_and_both_audits(digits):
    _, result, said = digits
    record = result.record
    assert record.title == "FGSM-1 at linf 0.08 with atlr"
    assert (record.training.samples, record.validation.samples, record.test.samples) == (250, 50, 60)
    assert (record.training.name, record.test.name) == ("digits:train", "digits")
    assert len(record.chosen) >= 1
    assert all(entry.gamma > 0 and entry.relative_error > 0 for entry in record.chosen)
    assert any("atlr acts on" in line for line in said)
    judge = (
        "60 images of digits:test give the verdict; 250 images of digits:train are trained on, 50 choose the weights"
    )
    assert said[0] == judge
    assert [entry.epoch for entry in record.log.epochs] == [1]
    assert record.log.epochs[0].penalty > 0
    assert record.strongest == ("fgsm@linf-0.08", "pgd@linf-0.08")
    assert [entry.id for entry in record.changes] == ["clean", "fgsm@linf-0.04", *record.strongest]
    assert record.scores[0].epsilons == (0.0, 0.04, 0.08)
    assert [entry.layer for entry in record.layers if entry.chosen] == [entry.layer for entry in record.chosen]
    assert record.layer_attack == "fgsm@linf-0.08"
    assert result.before.record.model.weights_sha256 != result.after.record.model.weights_sha256
    assert result.before.evidence["image_ids"].tolist() == result.after.evidence["image_ids"].tolist()
    assert record.verdict in ("helped", "not-helped", "masked")
    assert (record.verdict == "helped") == record.reason.startswith("every attack")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "columns.pt",
        pytest.param("columns.pt2", marks=pytest.mark.slow),
        pytest.param("frozen.pt", marks=pytest.mark.slow),
    ],
)
def test_a_file_comes_back_in_its_own_format(name, folder, tmp_path):
    recipe = {"bn": "train", "augment": ("flip",)}
    result = hardened(
        folder / name,
        folder / "train.npz",
        tmp_path,
        recipe,
        profile_settings=NORMALIZED,
        test=str(folder / "test.npz"),
    )
    file = tmp_path / result.record.file.name
    assert file.name == name.replace(".", "-hardened.")
    own = (torch.jit.load if name.endswith(".pt") else lambda path: torch.export.load(path).module())(file)
    checkpoint = torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)
    images = dataset(20, seed=3).images(0, 20)
    again = loaded(file, mean=(0.5,), std=(0.25,), input_shape=(1, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(own((images - 0.5) / 0.25), again.module(images), rtol=1e-4, atol=1e-4)
        again.module.load_state_dict(checkpoint["best"])
        torch.testing.assert_close(own((images - 0.5) / 0.25), again.module(images), rtol=1e-4, atol=1e-4)
    assert result.record.test.samples == 60
    assert result.record.training.samples == 100


def test_onnx_comes_back_as_onnx(folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (source,) = folder.glob("*.onnx")
    classes = loaded(source).module(torch.rand(2, 1, 8, 8)).shape[1]
    labels = numpy.arange(120) % classes
    images = numpy.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=numpy.uint8)
    numpy.savez(tmp_path / "noise.npz", images=images, labels=labels)
    out = tmp_path / "out"
    result = hardened(source, tmp_path / "noise.npz", out)
    file = out / result.record.file.name
    assert file.suffix == ".onnx"
    pixels = torch.from_numpy(images[:10, None]).float() / 255
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), loaded(file).module(pixels), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(torch.from_numpy(found), loaded(source).module(pixels), atol=1e-4)


def test_no_epoch_above_the_floor_writes_no_model(folder, tmp_path):
    settings = {"lr": 100.0, "max_clean_drop": 0.0, "clip_grad": 1.0}
    result = hardened(
        folder / "columns.pt",
        folder / "train.npz",
        tmp_path,
        settings,
        profile_settings=NORMALIZED,
        test=str(folder / "test.npz"),
    )
    assert result.record.verdict == "no-checkpoint"
    assert (result.record.file, result.record.after, result.after) == (None, None, None)
    assert result.record.log.kept_epoch is None
    assert result.record.changes == ()
    assert not list(tmp_path.glob("*hardened*"))


def test_images_of_the_test_are_not_trained_on_and_that_is_said(folder, tmp_path, monkeypatch):
    data = dataset(150, 0)
    path = tmp_path / "overlap.npz"
    numpy.savez(path, images=data.pixels[100:, 0].numpy(), labels=data.labels[100:].numpy())
    seen, heard = [], Listening()
    real = hardening.train

    def watched(setup, *arguments, **named):
        seen.append(setup)
        return real(setup, *arguments, **named)

    monkeypatch.setattr(hardening, "train", watched)
    result = hardened(
        folder / "columns.pt",
        folder / "train.npz",
        tmp_path / "out",
        progress=heard,
        profile_settings=NORMALIZED,
        test=str(path),
    )
    assert any(line.startswith("50 images of train are among the test images") for line in heard.said)
    assert result.record.training.samples + result.record.validation.samples == 100
    (setup,) = seen
    used = [image.numpy().tobytes() for part in (setup.training, setup.validation) for image in part.pixels]
    judged = {image.numpy().tobytes() for image in data.pixels[100:]}
    assert len(used) == 100
    assert not judged & set(used)
    assert not {*setup.training.image_ids} & {*setup.validation.image_ids}


def test_training_on_the_test_itself_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="holds no image that is not in the test too"):
        hardened(
            folder / "columns.pt",
            folder / "train.npz",
            tmp_path,
            profile_settings=NORMALIZED,
            test=str(folder / "train.npz"),
        )


def bad_labels(folder, tmp_path):
    data = dataset(60)
    numpy.savez(tmp_path / "labels.npz", images=data.pixels[:, 0].numpy(), labels=data.labels.numpy() + 1)
    return folder / "columns.pt", tmp_path / "labels.npz"


def few(folder, tmp_path):
    data = dataset(19)
    numpy.savez(tmp_path / "few.npz", images=data.pixels[:, 0].numpy(), labels=data.labels.numpy())
    return folder / "columns.pt", tmp_path / "few.npz"


def constant(folder, _tmp_path):
    return folder / "constant.pt", folder / "train.npz"


WORK = {
    "harden": lambda *asked: harden(*asked, Silent()),
    "dry_run": lambda *asked: dry_run(*asked[:3], Silent()),
}


@pytest.mark.parametrize(
    ("case", "error", "said"),
    [
        (bad_labels, DataError, "out of range: the model has 3 classes"),
        (few, DataError, "too few images for a split"),
        (constant, ModelError, "has no trainable parameters"),
    ],
)
@pytest.mark.parametrize("work", WORK)
def test_what_cannot_be_trained_is_refused_in_one_line(work, case, error, said, folder, tmp_path):
    subject, data = case(folder, tmp_path)
    wanted = HardenRequest(Recipe(**RECIPE), str(data))
    with pytest.raises(error, match=said) as caught:
        WORK[work](str(subject), profile(**NORMALIZED), wanted, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_dry_run_writes_nothing_and_tells_what_to_expect(folder):
    before = sorted(entry.name for entry in folder.iterdir())
    wanted = HardenRequest(Recipe(**{**RECIPE, "reg": "atlr"}), str(folder / "train.npz"))
    found = dry_run(str(folder / "columns.pt"), profile(**NORMALIZED), wanted, Silent())
    assert found.steps_an_epoch == 1
    assert found.seconds_total > 0
    assert sorted(entry.name for entry in folder.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("fails", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_caller_finds_his_settings_again(fails, folder, tmp_path, monkeypatch):
    def stop(*_arguments, **_named):
        raise RuntimeError("stop")

    if fails:
        monkeypatch.setattr(hardening, "audit", stop)
    torch.manual_seed(17)

    def world():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            numpy.random.get_state()[1].tolist(),
        )

    before = world()
    arguments = (folder / "columns.pt", folder / "train.npz", tmp_path, {"deterministic": False})
    named = {"profile_settings": NORMALIZED, "test": str(folder / "test.npz"), "checks": Checks(attacks=("fgsm",))}
    with torch.no_grad():
        if fails:
            with pytest.raises(RuntimeError, match="stop"):
                hardened(*arguments, **named)
        else:
            hardened(*arguments, **named)
    assert world() == before
