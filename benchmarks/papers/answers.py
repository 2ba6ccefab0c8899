"""What the cells say of three questions, as computed lines and tables: the published gain, true gains, masking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lsa_audit.stats.statistics import holm

from .results import CLEAN, Difference, Figure, Pairs, Results, fgsm, spread

SIGNIFICANT = 0.05
CLEAN_LOSS = 1.5
"""Points of clean accuracy that a gain may cost."""
UNSEEN_SHARE = 0.5
"""A gain of which a stronger attack leaves less than this share is called a sign of masking."""

NO_SIGN = "never-right"
"""An attack-health error that says nothing of masking: there was nothing to attack."""

Row = list[str]


class PublishedGain(NamedTuple):
    """A published difference between two rows, and ours."""

    setting: str
    base: str
    measure: str
    published: float
    ours: Difference

    @property
    def verdict(self) -> str:
        """In words."""
        if self.ours.low is None or self.ours.high is None:
            return "one seed does not tell"
        if self.ours.low > 0:
            return "there is a gain"
        return "there is a loss" if self.ours.high < 0 else "within the noise of the seeds"


class Gain(NamedTuple):
    """A setting against its base under one attack; p adjusted over all settings and attacks of the question."""

    setting: str
    base: str
    attack: str
    clean: float
    pairs: Pairs
    seeds: Difference
    p_value: float

    @property
    def holds(self) -> bool:
        """Significant, upwards, and clean accuracy within the limit."""
        return self.p_value < SIGNIFICANT and self.pairs.gained > self.pairs.lost and self.clean >= -CLEAN_LOSS


class Unseen(NamedTuple):
    """A gain in points that a stronger attack at the same epsilon, on the same images, does not see."""

    weaker: Figure
    stronger: Figure
    gain: float
    left: float


class Mask(NamedTuple):
    """What speaks for masking in one setting.

    Attributes:
        errors: rule -> seeds in which an attack-health finding of it is an error.
        unseen: the gains that vanish.
    """

    setting: str
    errors: dict[str, int]
    unseen: list[Unseen]
    seeds: int


def published_gains(results: Results) -> list[PublishedGain]:
    """Rows of which the source has both sides: the last column, and R&G."""
    experiment = results.experiment
    found = []
    for setting in results.compared():
        row, base_row = setting.row, experiment.setting(setting.base or "").row
        if row is None or base_row is None:
            continue
        after, before = experiment.published[row], experiment.published[base_row]
        last = experiment.grid[-1]
        for measure, published, figure in (
            (f"FGSM at {last:g}", after[-1] - before[-1], fgsm(last)),
            ("R&G", sum(after) - sum(before), None),
        ):
            ours = results.difference(setting, figure)
            found.append(PublishedGain(setting.name, setting.base or "", measure, published, ours))
    return found


def gains(results: Results) -> list[Gain]:
    """Every setting against its base under the cascade and under AutoAttack at the first decisive epsilon."""
    epsilon = results.experiment.decisive[0]
    figures = (Figure("scan", "cascade", epsilon), Figure("autoattack", "autoattack", epsilon))
    tests = [(setting, figure) for setting in results.compared() for figure in figures]
    pairs = [results.pairs(setting, figure) for setting, figure in tests]
    adjusted = holm([pair.p_value for pair in pairs]).tolist() if pairs else []
    return [
        Gain(
            setting.name,
            setting.base or "",
            figure.attack,
            results.pairs(setting, CLEAN).points,
            pair,
            results.difference(setting, figure),
            p_value,
        )
        for (setting, figure), pair, p_value in zip(tests, pairs, adjusted, strict=True)
    ]


def masks(results: Results) -> list[Mask]:
    """Settings for which something speaks for masking."""
    unseen = _unseen(results)
    found = []
    for setting in results.settings:
        cells = results.cells(setting.name)
        errors: dict[str, int] = {}
        for cell in cells:
            findings = [entry for look in cell["looks"] for entry in look["findings"]]
            rules = {entry["rule"] for entry in findings if entry["level"] == "error"} - {NO_SIGN}
            errors |= {rule: errors.get(rule, 0) + 1 for rule in sorted(rules)}
        if errors or setting.name in unseen:
            found.append(Mask(setting.name, errors, unseen.get(setting.name, []), len(cells)))
    return found


def _unseen(results: Results) -> dict[str, list[Unseen]]:
    """By setting: significant gains under FGSM that PGD does not see, and under PGD that the cascade does not see."""
    experiment, most = results.experiment, results.first["sizes"]["scan"]
    steps = [(Figure("white-box", "fgsm", one), Figure("white-box", "pgd", one)) for one in experiment.strong]
    steps += [(Figure("white-box", "pgd", one), Figure("scan", "cascade", one)) for one in experiment.decisive]
    tests = [(setting, weaker, stronger) for setting in results.compared() for weaker, stronger in steps]
    gained = [results.pairs(setting, weaker, most) for setting, weaker, _ in tests]
    adjusted = holm([pair.p_value for pair in gained]).tolist() if gained else []
    found: dict[str, list[Unseen]] = {}
    for (setting, weaker, stronger), pair, p_value in zip(tests, gained, adjusted, strict=True):
        left = results.pairs(setting, stronger, most).points
        if p_value < SIGNIFICANT and pair.points > 0 and left < UNSEEN_SHARE * pair.points:
            found.setdefault(setting.name, []).append(Unseen(weaker, stronger, pair.points, left))
    return found


def paragraphs(results: Results) -> list[str]:
    """The three answers as lines of Markdown: a sentence each, and what it rests on."""
    return [*_on_published(results), "", *_on_gains(results), "", *_on_masks(results)]


def _on_published(results: Results) -> list[str]:
    question = "**Does the published gain hold across seeds?**"
    found = published_gains(results)
    if not found:
        return [f"{question} No pair of settings that was published has run yet."]
    counts = Counter(gain.verdict for gain in found)
    counted = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
    lines = [f"{question} Of {len(found)} published differences, {counted}.", ""]
    for gain in found:
        noise = spread(results.accuracies(gain.base, fgsm(results.experiment.grid[-1])))
        apart = f" {gain.base} alone spreads over {noise.high - noise.low:.1f} points." if gain.measure != "R&G" else ""
        lines.append(
            f"- {gain.setting} over {gain.base}, {gain.measure}: {interval(gain.ours)}, published "
            f"{gain.published:+.2f}: {gain.verdict}.{apart}"
        )
    return lines


def _on_gains(results: Results) -> list[str]:
    epsilon = results.experiment.decisive[0]
    question = (
        f"**Does a setting gain under the cascade or AutoAttack at {epsilon:g} with clean accuracy within "
        f"{CLEAN_LOSS:g} points of its base?**"
    )
    found = gains(results)
    if not found:
        return [f"{question} No setting has run beside its base yet."]
    holding = [gain for gain in found if gain.holds]
    lines = [f"{question} In {len(holding)} of {len(found)} comparisons."]
    if holding:
        lines.append("")
    return lines + [
        f"- {gain.setting} over {gain.base} under {gain.attack}: {gain.pairs.points:+.2f} points (p "
        f"{p_text(gain.p_value)}), clean {gain.clean:+.2f}; over seeds {interval(gain.seeds)}: "
        f"{_agreement(gain.seeds)}."
        for gain in holding
    ]


def _agreement(seeds: Difference) -> str:
    """What the seeds add to a p-value that takes their images together."""
    return "the seeds bear it out" if seeds.low is not None and seeds.low > 0 else "the seeds do not bear it out"


def _on_masks(results: Results) -> list[str]:
    found = masks(results)
    question = f"**Which settings mask?** {len(found)} of {len(results.settings)} show signs of it"
    if not found:
        return [f"{question}."]
    rule = (
        "an attack-health finding that is an error, or a significant gain under FGSM of which PGD leaves less than "
        "half, or one under PGD of which the cascade does, on the same images"
    )
    return [f"{question} ({rule}).", "", *(f"- {_mask(mask)}" for mask in found)]


def _mask(mask: Mask) -> str:
    parts = [f"{rule} is an error in {count} of {mask.seeds} seeds" for rule, count in mask.errors.items()]
    parts += [
        f"at {weaker.epsilon:g} it gains {gain:+.1f} points under {weaker.attack} and {left:+.1f} under "
        f"{stronger.attack}"
        for weaker, stronger, gain, left in mask.unseen
    ]
    return f"{mask.setting}: {'; '.join(parts)}."


def interval(found: Difference) -> str:
    """The mean with its interval, in points."""
    if found.low is None or found.high is None:
        return f"{found.mean:+.2f} (one seed)"
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f}, {found.seeds} seeds)"


def p_text(value: float) -> str:
    """Three digits, or below a thousandth."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def gain_rows(found: Sequence[Gain]) -> list[Row]:
    """The table behind the second answer."""
    return [
        [
            gain.setting,
            gain.base,
            gain.attack,
            f"{gain.clean:+.2f}",
            f"{gain.pairs.points:+.2f}",
            f"{gain.pairs.gained} / {gain.pairs.lost} of {gain.pairs.total}",
            p_text(gain.p_value),
            interval(gain.seeds),
        ]
        for gain in found
    ]
