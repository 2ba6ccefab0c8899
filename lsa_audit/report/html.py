"""The report as one HTML file: no network, no script, the figures inside, light and dark, screen and print."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .document import document
from .plots.drawing import Figure
from .shown import Shown
from .view import Document

TEMPLATE = "report.html.j2"


def render(shown: Shown) -> str:
    """The whole report as a self-contained page. Everything from the record is escaped by the template engine."""
    from .plots import figures

    return page(document(shown.record), figures(shown.record))


def page(report: Document, figures: tuple[Figure, ...]) -> str:
    """A document as a self-contained page, its figures after the findings."""
    environment = Environment(
        loader=PackageLoader("lsa_audit.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["kind"] = lambda block: type(block).__name__.lower()
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["breakable"] = _breakable
    return environment.get_template(TEMPLATE).render(report=report, figures=figures)


def _breakable(name: str) -> Markup:
    """A dotted name, escaped, that breaks after a dot before it breaks anywhere else."""
    return Markup(".<wbr>").join(name.split("."))


def _inline_svg(figure: Figure) -> Markup:
    """The drawing as markup: `drawing.finish` has written it through an XML serializer, which escapes every name."""
    return Markup(figure.svg)  # noqa: S704
