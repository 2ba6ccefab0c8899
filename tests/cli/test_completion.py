"""Shell completion: what the shell is answered, through Typer's own protocol, and without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer

from lsa_audit.cli import app, completion
from lsa_audit.cli.topics import SCHEMAS, catalogue
from lsa_audit.settings.profile import presets

RUN = "import sys; sys.argv[0] = 'lsa-audit'; from lsa_audit.__main__ import run; run()"


def asked(*words: str) -> list[str]:
    """What bash is given for the last word."""
    line = ["lsa-audit", *words]
    protocol = {
        "_LSA_AUDIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=os.environ | protocol, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow_except("words0-wanted0")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("expl",), ["explain"]),
        (("explain", "robust"), ["robust_accuracy"]),
        (("schema", ""), list(SCHEMAS)),
    ],
)
def test_bash_is_answered(words, wanted):
    assert asked(*words) == wanted


@pytest.mark.parametrize(
    ("offer", "incomplete", "wanted"),
    [
        (completion.attacks, "apgd-", ["apgd-ce", "apgd-dlr", "apgd-t"]),
        (completion.attacks, "pgd,sq", ["pgd,square"]),
        (completion.attacks, "pgd,pg", []),
        (completion.attacks, "speck", []),
        (completion.noises, "s", ["salt", "speckle"]),
        (completion.noises, "salt,s", ["salt,speckle"]),
        (completion.noises, "non", ["none"]),
        (completion.data, "cifar", ["cifar10", "cifar100"]),
        (completion.data, "folder", []),
        (completion.norms, "l", ["linf", "l2", "l1"]),
        (completion.profiles, "", list(presets())),
        (completion.presets, "st", ["strict"]),
        (completion.measures, "relative", ["relative-error"]),
        (completion.formats, "mark", ["markdown"]),
        (completion.outputs, "json", ["json="]),
        (completion.topics, "pro", ["profiles"]),
        (completion.schemas, "gate", ["gate"]),
        (completion.explained, "gaus", ["gaussian"]),
        (completion.explained, "", [name for names in catalogue().values() for name in names]),
    ],
)
def test_each_callback_offers_what_fits(offer, incomplete, wanted):
    assert [value for value, _ in offer(incomplete)] == wanted


OPTIONS = {
    "scan --data": ("digi", "digits"),
    "scan --profile": ("quick", "quick"),
    "scan --attack": ("fgsm,squ", "fgsm,square"),
    "scan --noise": ("gauss", "gaussian"),
    "scan --norm": ("linf", "linf"),
    "scan --measure": ("cos", "cosine"),
    "scan --output": ("sar", "sarif="),
    "gate --profile": ("standard", "standard"),
    "gate --preset": ("str", "strict"),
    "gate --output": ("junit", "junit="),
    "baseline update --preset": ("warn", "warn"),
    "report --format": ("model", "model-card"),
    "report --output": ("html", "html="),
    "diff --format": ("term", "terminal"),
}


@pytest.mark.parametrize("place", OPTIONS)
def test_an_option_offers_its_values(place):
    typed, wanted = OPTIONS[place]
    *names, option = place.split()
    command = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]
    context = typer.Context(command)
    (parameter,) = (each for each in command.params if option in each.opts)
    assert [offered.value for offered in parameter.shell_complete(context, typed)] == [wanted]


@pytest.mark.slow
def test_completion_does_not_import_torch():
    code = (
        "import sys; from lsa_audit.cli import completion as c\n"
        "for offer in (c.attacks, c.noises, c.data, c.norms, c.profiles, c.presets, c.measures, c.formats,\n"
        "              c.outputs, c.diff_formats, c.topics, c.schemas, c.explained): assert offer(''), offer\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.slow_except("zsh")
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_for_a_shell_can_be_shown(shell):
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-c", RUN, "--show-completion", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_LSA_AUDIT_COMPLETE" in done.stdout
