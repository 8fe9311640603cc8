"""The documentation site: complete, strict, and without anything from other hosts."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.paths import ROOT

BROKEN = """\
# Page

[page](nowhere.md), [anchor](#nowhere), [object][inat.training.fit.no_such_function]
"""


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does, into ``site``."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(site),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


class LoadedCheckpoint(HTMLParser):
    """Addresses that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(values.get("href") or "")
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(values.get("src") or "")


@pytest.mark.slow
def test_a_page_loads_nothing_from_another_host(site):
    found = set()
    for page in site.rglob("*.html"):
        parser = LoadedCheckpoint()
        parser.feed(page.read_text())
        found |= {address for address in parser.addresses if re.match(r"(\w+:)?//", address)}
    assert found == set()


@pytest.mark.slow
def test_the_reference_has_every_command_with_its_own_help(site):
    page = (site / "reference" / "commands.html").read_text()
    scripts = [path for package in ("inat", "analysis") for path in (ROOT / package).rglob("__main__.py")]
    names = [".".join(path.relative_to(ROOT).parent.parts) for path in scripts]
    for command in ("tune_scratch.py", "tune_finetune.py", *(f"-m {name}" for name in names)):
        assert f"python {command}" in page
    for subcommand in ("inat.cluster check", "inat.cluster wait", "analysis claims", "inat.interpret filters"):
        assert f"python -m {subcommand}</code></h3>" in re.sub(r"<a class=\"headerlink\".*?</a>", "", page)
    assert "--grace-period" in page
    assert str(Path.home()) not in page


@pytest.mark.slow
def test_the_reference_has_the_docstrings_of_public_functions(site):
    page = (site / "reference" / "api" / "training.html").read_text()
    assert 'id="inat.training.fit.fit"' in page
    assert "_fit" not in re.findall(r'id="inat\.training\.fit\.(\w+)"', page)


@pytest.mark.slow
def test_a_broken_link_an_unlisted_page_and_a_dangling_reference_fail_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(BROKEN)
    (tmp_path / "docs" / "unlisted.md").write_text("# Unlisted\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nhooks: []\nextra_css: []\nnav: [index.md]\n")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    for defect in ("nowhere.md", "#nowhere", "inat.training.fit.no_such_function", "unlisted.md"):
        assert defect in done.stderr


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1500


def test_links_of_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert len(targets) > 10
    assert [target for target in targets if not (ROOT / target).exists()] == []
