"""Rules that a browser enforces or finds broken: where pages may load from, who can read them."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import throwaway
from browsing import named

pytestmark = pytest.mark.browser

POLICY = 'meta[http-equiv="Content-Security-Policy"]'
GRAVE = ("serious", "critical")


def kinds(pages: list[Path]) -> list[Path]:
    """A page of each kind: front page, ledger, explorer, a chapter's landing page, a chapter."""
    prose = [
        Path(named(pages, name).removeprefix("file://")) for name in ("index", "ledger", "explorer")
    ]
    landing = [page for page in pages if page.parent.name == "chapters"]
    chapters = [page for page in pages if "executed" in page.parts]
    told = [page for page in chapters if 'class="answer"' in page.read_text(encoding="utf-8")]
    answered = [page for page in landing if 'id="at-random"' in page.read_text(encoding="utf-8")]
    return [*prose, (answered or landing)[0], (told or chapters)[0]]


def test_every_page_has_a_policy_that_names_no_other_host(pages: list[Path]) -> None:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'" and rules["base-uri"] == "'none'"
        assert "unsafe-inline" not in rules["script-src"] and "unsafe-eval" not in policy
        assert "http" not in policy and "*" not in policy, page
        assert text.index("Content-Security-Policy") < text.index("<script")


def test_scripts_that_slip_in_do_not_run(view: Any, pages: list[Path]) -> None:
    asked: list[str] = []
    refused: list[str] = []
    view.on("request", lambda request: asked.append(request.url))
    view.on("requestfailed", lambda r: refused.append(r.url) if r.failure == "csp" else None)
    for page in kinds(pages):
        view.goto(page.as_uri())
        view.evaluate("""async () => {
          const script = document.createElement("script");
          script.textContent = "window.slipped = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend",
            "<img src='https://example.org/x.png' onerror='window.slipped = true'>");
          await new Promise(done => setTimeout(done, 100));
          await fetch("https://example.org/y").catch(() => {});
        }""")
        assert view.evaluate("window.slipped") is None, page
    assert [url for url in asked if url.startswith("http")] == refused


def test_the_sidebar_search_and_the_theme_work_under_the_policy(
    view: Any, pages: list[Path]
) -> None:
    wrong: list[str] = []
    view.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    view.goto(named(pages, "index"))
    mode = "document.documentElement.dataset.mode"
    before = view.evaluate(mode)
    button = view.locator("button.theme-switch-button:visible").first
    button.click()
    assert view.evaluate(mode) != before
    search = Path(named(pages, "index").removeprefix("file://")).parents[1] / "search.html"
    view.goto(f"{search.as_uri()}?q=ledger")
    view.wait_for_selector("#search-results li a", timeout=10_000)
    refused = [text for text in wrong if "Content Security Policy" in text]
    assert not refused, refused


def test_axe_finds_no_serious_fault(view: Any, pages: list[Path]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make install")
    faults = []
    for page in kinds(pages):
        view.goto(page.as_uri())
        view.wait_for_timeout(400)
        found = axe.Axe().run(view).response["violations"]
        faults += [
            f"{page.name}: {one['id']}, {one['help']}: "
            + "; ".join(node["html"][:160] for node in one["nodes"][:3])
            for one in found
            if one["impact"] in GRAVE
        ]
    assert not faults, "\n".join(faults)


def test_a_policy_lists_scripts_that_run_and_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(throwaway.ROOT / "book" / "_ext")
    policy = import_module("policy")
    page = (
        '<html><head><meta charset="utf-8" /><script>let a = 1;</script>'
        '<script src="a.js"></script><script type="application/json">{"onclick": 1}</script>'
        '</head><body><button onclick="go(&#39;x&#39;)">on</button></body></html>'
    )
    told = policy.of_page(page)
    assert told.count("sha256-") == 2 and "'unsafe-hashes'" in told
    assert policy._hashes(["let a = 1;"])[0] in told and policy._hashes(["go('x')"])[0] in told
    assert "unsafe-hashes" not in policy.of_page(page.replace("onclick=", "data-x="))
    once = policy.protected(page)
    assert policy.protected(once) == once and once.count("Content-Security-Policy") == 1
