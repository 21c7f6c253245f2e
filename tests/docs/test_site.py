"""The documentation is one site: it builds without a warning, and every link leads somewhere."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "tickhandler_dagster"


class Page(HTMLParser):
    """What a page names, and where it leads."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") in {"stylesheet", "preload"}:
            self.loads.append(found["href"])
        if tag in {"script", "img"} and found.get("src"):
            self.loads.append(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"),
            *("-d", str(folder / "cache"), str(DOCS), str(folder / "html")),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    html = folder / "html"
    return html, {
        str(file.relative_to(html)): Page(file.read_text(encoding="utf-8"))
        for file in html.rglob("*.html")
    }


def test_every_link_and_every_anchor_of_the_site_is_there(site):
    html, pages = site
    lost = []
    for name, page in pages.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            here = (html / name).parent / unquote(parts.path) if parts.path else html / name
            target = here.resolve()
            other = pages.get(str(target.relative_to(html.resolve())))
            if not target.is_file() or (
                parts.fragment and other and unquote(parts.fragment) not in other.names
            ):
                lost.append((name, link))
    assert lost == []
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_the_site_asks_no_other_host(site):
    _, pages = site
    assert [url for page in pages.values() for url in page.loads if urlsplit(url).netloc] == []


def test_every_page_is_in_the_navigation_and_the_reference_has_the_reader(site):
    html, pages = site
    wanted = {f"{page.stem}.html" for page in DOCS.glob("*.md")}
    assert wanted <= set(pages)
    assert wanted - {"index.html"} <= set(pages["index.html"].links)
    assert (html / "messages.html").read_text(encoding="utf-8").count("<tr") > 200
    names = pages["api.html"].names
    for name in ("MarketData.candles", "MarketData.ticks", "Rows.known_with", "open_market_data"):
        assert any(one.endswith(f"client.{name}") for one in names), name


def _slug(heading):
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@functools.cache
def _anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return set(map(_slug, headings))


def test_links_between_files_lead_somewhere_on_github_too():
    lost = []
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = page.parent / parts.path if parts.path else page
            there = target.exists()
            if there and parts.fragment and target.suffix == ".md":
                there = parts.fragment in _anchors(target)
            if not there:
                lost.append((page.name, link))
    assert lost == []


def _texts():
    """Every text of the package, what is put into it as `…`."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_that_the_questions_quote_is_in_the_code():
    page = (DOCS / "faq.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \| ", page, flags=re.MULTILINE)
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    of_dagster = [text for text in quoted if text.startswith("All selected assets")]
    assert len(quoted) > 60
    assert len(of_dagster) == 2
    known = "\n".join(_texts())
    pieces = {
        text: [piece.strip() for piece in text.split("…") if len(piece.strip()) > 1]
        for text in quoted
        if text not in of_dagster
    }
    lost = [text for text, some in pieces.items() if any(piece not in known for piece in some)]
    assert lost == []


def test_the_pictures_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "draw_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = {f"{name}.svg": draw() for name, draw in module.PICTURES.items()}
    kept = {file.name: file.read_text(encoding="utf-8") for file in module.FOLDER.iterdir()}
    assert drawn == kept
