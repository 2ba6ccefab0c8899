from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy
import pytest
import torch

from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import ModelRequest, fit, load
from lsa_audit.progress import interrupts

GOOD = """
import random
import numpy
import torch
from torch import nn
from neighbour import WIDTH

def net(width=WIDTH, bias=True):
    print("building")
    return nn.Sequential(nn.Linear(4, width, bias=bias), nn.ReLU(), nn.Linear(width, 3))

def draws():
    network = nn.Linear(1, 3)
    with torch.no_grad():
        network.bias.copy_(torch.tensor([random.random(), numpy.random.rand(), float(torch.rand(()))]))
    return network

def with_metadata():
    network = nn.Conv2d(3, 10, 8)
    network.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 8, 8)}
    return network

def raises():
    raise ValueError("two lines:\\nwhat went wrong")

def deep():
    return nn.Linear(-1, 3)

def leaves():
    raise SystemExit(3)

def text():
    return "a model"

def lazy():
    return nn.LazyLinear(3)

def empty():
    return nn.Linear(2, 2, device="meta")

def half():
    return nn.Linear(4, 3).half()

def compiled():
    return torch.compile(nn.Linear(4, 3), backend="eager")

def program():
    images = torch.rand(2, 4)
    exported = torch.export.export(net().eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    return exported.module()

def any_arguments(depth=2, **settings):
    return nn.Linear(4, settings.get("num_classes", 3))

ready = nn.Linear(2, 2)
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "nets.py").write_text(GOOD)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    (tmp_path / "broken.py").write_text("import os\nthis is no Python\n")
    (tmp_path / "needs.py").write_text("import surely_not_installed_here\n")
    (tmp_path / "timm.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 2)\n")
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged" / "__init__.py").write_text("")
    (tmp_path / "packaged" / "nets.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 5)\n")
    monkeypatch.chdir(tmp_path)
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if name.startswith(("_lsa_audit_", "neighbour", "packaged")):
            del sys.modules[name]


def test_a_file_is_imported_with_its_neighbours_and_leaves_the_path_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    path = list(sys.path)
    model = fit(load(ModelRequest(f"{folder / 'nets.py'}:net")), torch.rand(2, 4))
    assert sys.path == path
    assert model.module.network[0].out_features == 7
    assert (model.name, model.source, model.classes) == ("net", "factory", 3)
    assert model.weights == "as the factory built them"
    assert model.notes == (f"runs the code of {folder / 'nets.py'}",)
    assert capsys.readouterr().out == ""


def test_a_package_is_imported_from_the_working_folder(folder: Path) -> None:
    path = list(sys.path)
    assert load(ModelRequest("packaged.nets:net")).module.network.out_features == 5
    assert sys.path == path


def test_arguments_reach_the_factory(folder: Path) -> None:
    model = load(ModelRequest("nets.py:net", arguments={"width": 9, "bias": False}))
    assert model.module.network[0].out_features == 9
    assert model.module.network[0].bias is None


def test_half_precision_is_audited_in_float32_and_a_compiled_network_as_it_was_before(folder: Path) -> None:
    model = fit(load(ModelRequest("nets.py:half")), torch.rand(2, 4))
    assert model.module.network.weight.dtype == torch.float32
    assert model.notes[1:] == ("the model computes in float16; it is audited in float32",)
    assert type(load(ModelRequest("nets.py:compiled")).module.network) is torch.nn.Linear


def test_an_exported_program_has_no_modes_and_runs(folder: Path) -> None:
    model = fit(load(ModelRequest("nets.py:program")), torch.rand(2, 4))
    assert not any(child.training for child in model.module.modules())
    assert model.module(torch.rand(3, 4)).shape == (3, 3)


@pytest.mark.parametrize(
    ("factory", "advice"),
    [
        ("half", "build the network with as many"),
        ("any_arguments", "give --model-arg num_classes=5"),
    ],
)
def test_the_advice_for_another_number_of_classes_fits_the_factory(folder: Path, factory: str, advice: str) -> None:
    torch.save(torch.nn.Linear(4, 5).state_dict(), "five.pth")
    with pytest.raises(ModelError, match=f"the file has 5 classes: {advice}$"):
        load(ModelRequest("five.pth", arch=f"nets.py:{factory}"))


def test_construction_is_seeded_and_the_callers_generators_do_not_move(folder: Path) -> None:
    states = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    first, second, other = (load(ModelRequest("nets.py:draws", seed=seed)).module.network for seed in (0, 0, 1))
    assert torch.equal(first.bias, second.bias)
    assert torch.equal(first.weight, second.weight)
    assert bool((first.bias != other.bias).all())
    assert random.getstate() == states[0]
    assert numpy.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_metadata_of_the_module_is_used_and_the_command_line_goes_before_it(folder: Path) -> None:
    stated = load(ModelRequest("nets.py:with_metadata")).preprocessing
    assert (stated.mean, stated.input_shape, stated.channels) == ((0.1, 0.2, 0.3), (3, 8, 8), 3)
    assert load(ModelRequest("nets.py:with_metadata", mean=(0.5,), std=(1.0,))).preprocessing.mean == (0.5,)


def test_a_ready_module_is_taken_as_it_is(folder: Path) -> None:
    assert load(ModelRequest("nets.py:ready")).module.network.out_features == 2
    with pytest.raises(ModelError, match="takes no --model-arg"):
        load(ModelRequest("nets.py:ready", arguments={"width": 2}))
    with pytest.raises(ModelError, match="already built"):
        load(ModelRequest("nets.py:ready", random_weights=True))


def test_a_file_may_carry_the_name_of_a_library(folder: Path) -> None:
    import timm

    assert load(ModelRequest("timm.py:net")).architecture == "Linear"
    assert sys.modules["timm"] is timm


def test_a_checkpoint_goes_into_what_the_factory_built(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 5).state_dict(), "x.pt")
    model = load(ModelRequest("packaged.nets:net", checkpoint=Path("x.pt")))
    assert model.weights == "checkpoint x.pt"


BAD: dict[str, tuple[str, Mapping[str, int], str]] = {
    "missing file": ("nothing.py:net", {}, r"there is no file nothing\.py"),
    "missing module": ("nothing.nets:net", {}, r"no Python module 'nothing\.nets'"),
    "missing part of a package": ("packaged.nothing:net", {}, r"no Python module 'packaged\.nothing'"),
    "missing attribute": ("nets.py:nothing", {}, "it defines net, draws, with_metadata"),
    "no attribute": ("nets.py:", {}, "names no factory"),
    "no file": (":net", {}, "names no factory"),
    "syntax": ("broken.py:net", {}, r"SyntaxError: invalid syntax at broken\.py:2"),
    "missing dependency": ("needs.py:net", {}, r"No module named 'surely_not_installed_here' at needs\.py:1"),
    "missing dependency of a module": ("needs:net", {}, r"No module named 'surely_not_installed_here' at needs\.py:1"),
    "raises": ("nets.py:raises", {}, r"ValueError: two lines: at nets\.py:24"),
    "raises inside torch": ("nets.py:deep", {}, r"RuntimeError: .* at nets\.py:27"),
    "leaves": ("nets.py:leaves", {}, r"SystemExit: 3 at nets\.py:30"),
    "wrong argument": ("nets.py:net", {"depth": 3}, "unexpected keyword argument 'depth'"),
    "returns text": ("nets.py:text", {}, "returned a str"),
    "not callable": ("nets.py:number", {}, "is a int"),
    "lazy layers": ("nets.py:lazy", {}, "weight has no size yet"),
    "meta device": ("nets.py:empty", {}, "weight is on the meta device and holds no values"),
}


@pytest.mark.parametrize(("spec", "arguments", "words"), BAD.values(), ids=BAD)
def test_bad_factories_get_one_line(folder: Path, spec: str, arguments: Mapping[str, int], words: str) -> None:
    path = list(sys.path)
    with pytest.raises(ModelError, match=words) as caught:
        load(ModelRequest(spec, arguments=arguments))
    assert "\n" not in str(caught.value)
    assert sys.path == path


def test_mean_for_whole_numbers_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"divide values for 0\.\.255 by 255"):
        load(ModelRequest("nets.py:with_metadata", mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)))


@pytest.mark.parametrize(
    "error", ["KeyboardInterrupt", "GeneratorExit", "SystemExit(0)", "type('Own', (BaseException,), {})()"]
)
def test_nothing_that_a_factory_raises_ends_the_program(folder: Path, error: str) -> None:
    (folder / "odd.py").write_text(f"def net():\n    raise {error}\n")
    (folder / "worse.py").write_text(f"raise {error}\n")
    for spec, line in (("odd.py:net", 2), ("worse.py:net", 1)):
        # Without the command's handlers an interrupt is the user's.
        with interrupts.listening(), pytest.raises(ModelError, match=rf"failed: .* at {spec[:-4]}:{line}"):
            load(ModelRequest(spec))


def test_an_interrupt_of_the_user_is_none_of_the_factorys(folder: Path) -> None:
    (folder / "odd.py").write_text("def net():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(ModelRequest("odd.py:net"))


@pytest.mark.parametrize(
    "spec", ["sys:exit", "builtins:exit", "builtins:print", "time:sleep", "os:getcwd", "typing:Any"]
)
def test_functions_that_are_no_factories_are_one_line(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=f"{spec} (failed|returned)"):
        load(ModelRequest(spec))


def test_a_file_whose_name_is_no_text_is_imported(folder: Path) -> None:
    (folder / "n\udcff.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 2)\n")
    assert load(ModelRequest("n\udcff.py:net")).name == "net"
