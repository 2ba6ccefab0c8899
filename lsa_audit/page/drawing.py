"""How figures are drawn: the style, the colours that follow the page's theme, and the SVG that goes into it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, cast
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH = 400  # SVG units, shown one to one on a phone
UNITS_PER_INCH = 72
FONT_SIZE = 11
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"

# Matplotlib draws with these colours, and the page's own variables take their place in the SVG.
INK, QUIET, GRID, SURFACE, BAD, GOOD = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
SERIES = ("#110101", "#110202", "#110303", "#110404", "#110505", "#110606", "#110707", "#110808")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    GRID: "--line",
    SURFACE: "--surface",
    BAD: "--bad",
    GOOD: "--good",
    **{colour: f"--series-{place}" for place, colour in enumerate(SERIES, start=1)},
}
STYLE: dict[str, Any] = {
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "legend.fontsize": FONT_SIZE - 1,
    "font.family": ["DejaVu Sans"],
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Figure:
    """A finished figure.

    Attributes:
        key: prefix of all ids inside the SVG, so that several figures share a page.
        title: what the figure shows.
        description: the same in words, for those who do not see it; also the caption.
        svg: the drawing, or empty: then the description says why there is none.
    """

    key: str
    title: str
    description: str
    svg: str = ""


@contextmanager
def canvas(height: float, panels: int = 1) -> Iterator[tuple[Canvas, list[Axes]]]:
    """An empty drawing `WIDTH` units wide with panels below each other; no global state of matplotlib is changed."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as NewCanvas

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Not the user's matplotlibrc: the same record must give the same bytes everywhere.
        matplotlib.rcdefaults()
        cast(Any, matplotlib.rcParams).update(STYLE)
        # A layer name may hold glyphs that the measuring font lacks; the browser has its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = NewCanvas(figsize=(WIDTH / UNITS_PER_INCH, height / UNITS_PER_INCH), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def finish(drawing: Canvas, key: str, title: str, description: str) -> Figure:
    """The drawing as an SVG element for inlining: theme colours, unique ids, a title and a description.

    Call it inside `canvas`, whose settings it needs. The same drawing gives the same text.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": key}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - what matplotlib has just written
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        attributes = _unstyled(element.attrib)
        element.attrib = {_attribute(name): _value(name, value, key) for name, value in attributes.items()}
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{key}-title {key}-description"})
    described = ElementTree.Element("desc", {"id": f"{key}-description"})
    described.text = description
    titled = ElementTree.Element("title", {"id": f"{key}-title"})
    titled.text = title
    root[:0] = [titled, described]
    return Figure(key, title, description, ElementTree.tostring(root, encoding="unicode"))


def _unstyled(attributes: dict[str, str]) -> dict[str, str]:
    """The declarations of a `style` as attributes of their own: the page's policy lets no inline style act.

    Of a font only the size stays: the family is the page's, and `font`, which some versions of matplotlib write, is no
    attribute.
    """
    declarations = (part.partition(":") for part in attributes.get("style", "").split(";") if part.strip())
    styles = {name.strip(): value.strip() for name, _, value in declarations}
    if size := re.search(r"[0-9.]+px", styles.pop("font", "")):
        styles["font-size"] = size.group()
    styles.pop("font-family", None)
    return {name: value for name, value in attributes.items() if name != "style"} | styles


def _attribute(name: str) -> str:
    return "href" if name == LINK else name


def _value(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == LINK:
        return f"#{key}-{value.removeprefix('#')}"
    value = re.sub(r"url\(#", f"url(#{key}-", value)
    return re.sub(r"#[0-9a-f]{6}", lambda match: _colour(match.group()), value)


def _colour(sentinel: str) -> str:
    return f"var({VARIABLES[sentinel]})" if sentinel in VARIABLES else sentinel


def is_finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a number that can be drawn."""
    return value is not None and math.isfinite(value)
