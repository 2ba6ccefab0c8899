"""axe-core looks at whole pages in Chromium, light and dark, with every folded part opened."""

from __future__ import annotations

import html as plain_html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import html

from .shown_records import SHOWN
from .test_html import CHROMIUM, chromium

# Contrast is looked at apart: axe cannot tell what lies behind the words of a drawing; another test has its colours.
RUN = """
document.querySelectorAll("details").forEach(part => part.open = true);
const contrast = {runOnly: ["color-contrast"]}, words = {exclude: [["svg"]]};
const others = {rules: {"color-contrast": {enabled: false}}};
const styles = document.querySelector("style"), dark = "screen and (prefers-color-scheme: dark)";
const ground = () => getComputedStyle(document.body).backgroundColor;
(async () => {
  const found = {all: await axe.run(document, others), light: await axe.run(words, contrast)};
  found.grounds = [ground()];
  styles.textContent = styles.textContent.replace(dark, "screen");
  found.grounds.push(ground());
  found.dark = await axe.run(words, contrast);
  const seen = document.createElement("pre");
  seen.id = "seen";
  seen.textContent = JSON.stringify(found, (key, value) => key === "inapplicable" ? undefined : value);
  document.body.append(seen);
})();
"""


def looked_at(page: str, folder: Path) -> dict[str, Any]:
    """What axe says of the page: violations, passes and what it cannot tell, by run; and the grounds of both themes."""
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert open_page != page
    path = folder / "page.html"
    path.write_text(f"{open_page}<script>{axe}</script><script>{RUN}</script>", encoding="utf-8")
    dumped = chromium(path, folder, "--virtual-time-budget=60000", "--window-size=1280,2000", "--dump-dom").stdout
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', dumped, re.DOTALL)
    return json.loads(plain_html.unescape(seen))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (on the path, or LSA_AUDIT_CHROMIUM)")
@pytest.mark.parametrize(
    "name", ["gates", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(SHOWN) if name != "gates")]
)
def test_axe_finds_nothing_serious(
    name: str, samples: dict[str, AuditRecord], hostile_name: str, tmp_path: Path
) -> None:
    pytest.importorskip("axe_core_python")
    seen = looked_at(html.render(SHOWN[name](samples, hostile_name)), tmp_path)
    for run, minimum in (("all", 30), ("light", 1), ("dark", 1)):
        found = [(rule["id"], rule["impact"], rule["nodes"]) for rule in seen[run]["violations"]]
        assert [rule for rule in found if rule[1] in ("serious", "critical")] == [], run
        assert len(seen[run]["passes"]) >= minimum
    assert seen["grounds"] == ["rgb(246, 247, 248)", "rgb(18, 22, 26)"]
    for run in ("light", "dark"):
        (contrast,) = seen[run]["passes"]
        assert contrast["id"] == "color-contrast"
        assert len(contrast["nodes"]) > 100
        assert seen[run]["incomplete"] == []
