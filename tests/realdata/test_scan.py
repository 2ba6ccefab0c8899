"""The main job on real weights and real images: published and independently measured figures come out."""

from __future__ import annotations

from pathlib import Path

import pytest

import lsa_audit

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

NETWORKS = Path(__file__).parent / "networks.py"


def test_resnet20_on_cifar10(shared):
    record = lsa_audit.scan(
        f"{NETWORKS}:resnet20",
        str(shared / "data/cifar10/cifar10_test_first1000.npz"),
        checkpoint=str(shared / "models/cifar_resnet20.th"),
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        samples=200,
        attacks=["fgsm", {"name": "pgd", "steps": 10}],
        noises=["gaussian"],
        epsilon=["8/255"],
    )
    assert 0.86 <= record.clean.value <= 0.97
    by_name = {result.perturbation.name: result.robust_accuracy.value for result in record.attacks}
    assert by_name["pgd"] < 0.01
    assert by_name["pgd"] < by_name["fgsm"] < 0.35 < 0.6 < by_name["gaussian"]
    assert sum(layer.parameters for layer in record.graph.layers) == record.model.parameters == 269_722
    assert len(record.neurons) == 20
    assert (record.neurons[0].layer, len(record.neurons[0].neurons)) == ("conv1", 16)
    assert sum(len(table.neurons) for table in record.neurons) == record.screening.neurons == 698
    assert record.screening.spent <= record.screening.budget == 100
    assert {layer.layer for layer in record.patching.layers if layer.whole} == {"conv1", "linear"}
    assert next(entry.mvl for entry in record.sustainability if entry.perturbation.startswith("pgd"))


@pytest.mark.parametrize(
    ("mean", "std", "clean", "low", "high"), [(None, None, 0.956, 0.745, 0.76), ([0.1307], [0.3081], 0.964, 0.0, 0.1)]
)
def test_normalisation_decides_the_robust_accuracy_of_the_mnist_net(shared, mean, std, clean, low, high):
    record = lsa_audit.scan(
        f"{NETWORKS}:mnist_cnn_a",
        str(shared / "data/mnist/mnist_test.npz"),
        checkpoint=str(shared / "models/mnist_cnn_a_adv.model"),
        mean=mean,
        std=std,
        slice="0:1000",
        attacks=[{"name": "pgd", "steps": 50, "restarts": 2}],
        noises=[],
        epsilon=[0.3],
        neurons="none",
    )
    assert record.clean.value == pytest.approx(clean)
    assert low <= record.attacks[0].robust_accuracy.value <= high
    assert record.model.mean == tuple(mean or [0.0])


def test_mobilenet_on_photos(shared):
    record = lsa_audit.scan(
        "mobilenetv2_100",
        str(shared / "data/imagenet_photos"),
        checkpoint=str(shared / "models/mobilenetv2_100_timm_padsame.pth"),
        model_args={"pad_type": "same"},
        mean=[0.5],
        std=[0.5],
        attacks=["fgsm"],
        noises=[],
        epsilon=["1/255"],
        neurons="none",
    )
    assert abs(record.clean.count - 90) <= 2
    assert record.labels.source == "dataset"
    assert "short side to 256 (bicubic), centre crop 224x224" in record.data.transforms
