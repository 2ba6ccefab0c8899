"""The report as one HTML file: no network, no script, the figures inside, light and dark, screen and print."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..page.drawing import Figure
from ..page.view import Document
from .document import document
from .shown import Shown

TEMPLATE = "report.html.j2"
STYLES = "report.css"
# Nothing but the one style sheet, known by its hash, and the pictures inside the page: whatever a name in the record
# might smuggle in, neither a script nor a style nor an address of it can act.
POLICY = "default-src 'none'; style-src '{styles}'; img-src data:; base-uri 'none'; form-action 'none'"


def render(shown: Shown) -> str:
    """The whole report as a self-contained page. Everything from the record is escaped by the template engine."""
    from .plots import figures

    return page(document(shown), figures(shown.record))


def page(report: Document, figures: tuple[Figure, ...]) -> str:
    """A document as a self-contained page, its figures after the findings."""
    environment = Environment(
        loader=PackageLoader("lsa_audit.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["kind"] = lambda block: type(block).__name__.lower()
    environment.filters["inline_svg"] = _inline_svg
    environment.filters["breakable"] = _breakable
    environment.filters["data_uri"] = _data_uri
    styles = (files("lsa_audit.reporting") / "templates" / STYLES).read_text(encoding="utf-8")
    return environment.get_template(TEMPLATE).render(
        report=report,
        figures=figures,
        styles=Markup(styles),  # noqa: S704 - a file of the package
        policy=POLICY.format(styles=_source(styles)),
    )


def _source(styles: str) -> str:
    """The hash of a style sheet as a policy writes it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()}"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _breakable(name: str) -> Markup:
    """A dotted name, escaped, that breaks after a dot before it breaks anywhere else."""
    return Markup(".<wbr>").join(name.split("."))


def _inline_svg(figure: Figure) -> Markup:
    """The drawing as markup: `drawing.finish` has written it through an XML serializer, which escapes every name."""
    return Markup(figure.svg)  # noqa: S704
