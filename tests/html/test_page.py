"""The page of a run, in a real browser: what it shows, what leads where, what is shown of hostile text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import runs
from browser import Page

from pytest_kiro.report.html.rendering import report

HOSTILE = (
    "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">'\"&{{7*7}}\u202e"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that has some of everything, beside a baseline."""
    run, evidence = runs.sample()
    before, _ = runs.sample(worse=False)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report(run, evidence, before, "main.json"), encoding="utf-8")
    return path


def shown(page: Page) -> list[str]:
    """The evals that the list shows, in its order."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.eval')].filter(e => !e.hidden).map(e => e.dataset.name)"
    )
    return [name.rpartition("::")[2] for name in names]


def text(page: Page, css: str = "body") -> str:
    found: str = page.evaluate(f"document.querySelector({json.dumps(css)})?.innerText ?? ''")
    return found


def fragment(page: Page) -> str:
    found: str = page.evaluate("location.hash")
    return found


def opened(page: Page, file: Path, fragment: str = "", **looks: object) -> None:
    page.open(file, fragment=fragment, **looks)
    if "#t=" in fragment or "&t=" in fragment:
        page.until("document.querySelector('#view article .raw pre')")


def test_the_first_screen(page: Page, file: Path) -> None:
    opened(page, file)
    assert text(page, "h1") == "✗\n3 failed, 1 lost to infrastructure, 1 undecided, 5 passed of 10 evals"
    assert "test_price_list" in text(page, "#news")
    assert text(page, "#news").startswith("New against main.json\nfails now")
    tiles = text(page, ".tiles")
    for words in ("68 %", "95 % interval", "33.07", "58 turns", "52 evaluated, 6 lost", "16.0 min"):
        assert words in tiles
    assert shown(page)[:3] == ["test_quit", "test_price_list", "test_slugify[plain]"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
    roles = page.roles()
    assert {"main", "navigation", "search", "searchbox", "heading"} <= {role for role, _ in roles}
    assert any(role == "image" and "interval from" in name for role, name in roles), "a bar says its numbers"
    assert page.requests == [file.as_uri()]
    assert page.errors == []


def test_search_filters_and_order_stand_in_the_address(page: Page, file: Path) -> None:
    opened(page, file)
    page.press("/")
    page.write("price")
    page.until("location.hash === '#q=price'")
    assert shown(page) == ["test_price_list"]
    assert text(page, ".count") == "1 of 10"
    page.press("Escape")
    page.click(".nothing .clear, .filters .clear:not([hidden])")
    page.press("f")
    assert (fragment(page), shown(page)) == ("#only=failed", ["test_quit", "test_price_list", "test_slugify[plain]"])
    opened(page, file, "#only=flaky&cause=throttled&q=donut")
    assert shown(page) == []
    assert text(page, ".nothing").startswith("No eval fits.")
    opened(page, file, "#cause=throttled&sort=name")
    assert shown(page) == ["test_notes", "test_reviewer"]
    opened(page, file, "#model=claude-haiku-5&only=undecided,infrastructure&sort=credits")
    assert shown(page) == ["test_reviewer", "test_notes"][::-1] or set(shown(page)) == {"test_reviewer", "test_notes"}
    opened(page, file, "#prompt=00000001&sort=rate")
    assert shown(page)[:2] == ["test_notes", "test_quit"], "a prompt's evals, the lowest rate first"


def test_a_link_leads_to_a_trial(page: Page, file: Path) -> None:
    opened(page, file, "#only=failed")
    page.evaluate("document.querySelector('.eval[data-name$=test_price_list] .strip a.failed').click()")
    page.until("document.querySelector('#view article .raw pre')")
    link = fragment(page)
    assert link.endswith("/1")
    assert "only=failed" in link, "what was filtered is still so when one comes back"
    opened(page, file, link)
    said = text(page, "#view article")
    order = [
        "evals/test_shop.py::test_price_list, trial 1 of 5",
        "The assert that failed",
        "evals/test_shop.py:12",
        "Cannot find module",
        "turns\n",
        "Prompt",
        "4 tool calls",
        "Kiro said",
        "2 files changed",
        "What the eval executed",
        "Here the assert failed",
        "What the turns changed",
        "+It draws a donut.",
    ]
    places = [said.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    assert json.loads(page.evaluate("document.querySelector('#view .raw pre').textContent"))["nodeid"].endswith(
        "test_price_list[1]"
    )
    assert page.evaluate("document.querySelectorAll('#view .timeline a').length") > 8
    assert page.evaluate("getComputedStyle(document.querySelector('main')).display") == "none"
    page.press("j")
    page.until("location.hash.includes('/2')")
    page.press("Escape")
    page.until("document.body.dataset.view === 'all'")
    assert fragment(page) == "#only=failed"
    assert len(shown(page)) == 3
    assert page.errors == []


def test_the_timeline_leads_to_the_call_and_the_terminal(page: Page, file: Path) -> None:
    opened(page, file, "#t=e21c/1")
    page.evaluate(
        "[...document.querySelectorAll('#view .timeline a')].find(a => a.querySelector('.calls.bad')).id = 'c'"
    )
    page.click("#c")
    assert page.evaluate("document.querySelector('#view .here details').open"), "the call is open"
    assert "node donut" in text(page, "#view .here")
    assert "turn=1&at=2.40" in fragment(page)
    assert float(page.evaluate("document.querySelector('#view .player input[type=range]').value")) == pytest.approx(2.4)
    link = fragment(page)
    opened(page, file, "#only=failed")
    opened(page, file, link)
    assert float(page.evaluate("document.querySelector('#view .player input[type=range]').value")) == pytest.approx(2.4)


def test_comparisons(page: Page, file: Path) -> None:
    opened(page, file, "#variants")
    said = text(page, "#variants")
    for words in (
        "by prompt",
        "edge-cases-first − plain",
        "better",
        "+60 points [+17, +81], p = 0.01",
        "Two trials side by side",
    ):
        assert words in said
    assert page.evaluate("document.querySelectorAll('#variants .spread svg .dot').length") == 3 * 20
    assert "this run and the baseline" in text(page, "#baseline")
    page.evaluate("document.querySelector('#variants a.beside').click()")
    page.until("document.querySelectorAll('#view article .raw pre').length === 2")
    left, right = page.evaluate("[...document.querySelectorAll('#view article')].map(a => a.getBoundingClientRect().x)")
    assert left < right, "beside each other"
    opened(page, file, "#baseline")
    page.evaluate("document.querySelector('#baseline a.beside').click()")
    page.until("document.querySelectorAll('#view article').length === 2")
    assert page.errors == []


def test_failures_that_are_alike(page: Page, file: Path) -> None:
    opened(page, file)
    said = text(page, "#alike")
    assert "16×" in said or "15×" in said, said
    assert "Cannot find module" in said


def test_without_scripts_it_is_still_a_report(page: Page, file: Path) -> None:
    page.open(file, scripts=False)
    roles = [name for _, name in page.roles()]
    assert any("3 failed" in name for name in roles)
    assert not any("Search" in name for name in roles), "what only scripts do is not offered"
    source = file.read_text(encoding="utf-8")
    for part in (
        '<details class="eval"',
        '<article class="trial"',
        '<pre class="diff">',
        '<svg class="rate"',
        "+It draws a donut.",
    ):
        assert part in source
    page.open(file, scripts=False, fragment="#t=e21c/1")
    assert page.errors == []


def test_hostile_text_is_text(page: Page, tmp_path: Path) -> None:
    run, evidence = runs.sample(text=lambda words: f"{HOSTILE}{words}{HOSTILE}")
    before, _ = runs.sample(worse=False, text=lambda words: f"{HOSTILE}{words}{HOSTILE}")
    path = tmp_path / "report.html"
    source = report(run, evidence, before, HOSTILE)
    path.write_text(source, encoding="utf-8")
    assert source.count("<script>") == 2 or "<script>document" not in source
    assert "<img" not in source
    assert "\u202e" not in source, "what turns the order of characters round is not shown"
    opened(page, path)
    title = page.evaluate("document.title")
    assert "3 failed" in title
    assert page.evaluate("document.querySelectorAll('main img, #view img, main script').length") == 0
    first = page.evaluate("document.querySelector('article.trial').dataset.id")
    page.evaluate(f"location.hash = {json.dumps('#t=' + first)}")
    page.until("document.querySelector('#view article .raw pre')")
    assert "onerror" in text(page, "#view"), "it is shown as text"
    assert page.evaluate("document.querySelectorAll('#view img, #view script').length") == 0
    assert page.evaluate("document.title") == title
    opened(
        page,
        path,
        "#q=%3Cscript%3E&only=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E&t=%22%3E%3Cimg%3E".replace("t=", "e="),
    )
    assert page.evaluate("document.title") == title
    assert page.requests == [path.as_uri()] * len(page.requests)
    assert page.errors == []


def test_long_words_are_broken(page: Page, tmp_path: Path) -> None:
    """No name, path or message makes the page wider than its window."""
    run, evidence = runs.sample(text=lambda words: words + "long" * 60)
    before, _ = runs.sample(worse=False, text=lambda words: words + "long" * 60)
    path = tmp_path / "report.html"
    path.write_text(report(run, evidence, before, "main.json"), encoding="utf-8")
    opened(page, path)
    one = page.evaluate("document.querySelector('article.trial').dataset.id")
    for where in ("", f"#t={one}", f"#t={one}&with=b{one}"):
        for width in (390, 1200):
            opened(page, path, where, width=width)
            page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") == width, where


def test_a_parameter_with_colons_is_part_of_a_name(page: Page, tmp_path: Path) -> None:
    run, evidence = runs.sample(text=lambda words: f"{words}[std::move]" if words.startswith("evals/") else words)
    path = tmp_path / "report.html"
    path.write_text(report(run, evidence), encoding="utf-8")
    opened(page, path)
    assert page.evaluate("document.querySelector('.eval .file').innerText") in (
        "evals/test_shop.py",
        "evals/test_chat.py",
    )
    assert text(page, ".eval .test").endswith("[std::move]")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(page: Page, file: Path, dark: bool) -> None:
    """Every colour of text on each background it stands on, by WCAG's formula: at least 4.5."""
    opened(page, file, "#t=e21c/1", dark=dark)
    low = page.evaluate(CONTRAST)
    assert low == []


CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const part = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const low = new Set();
  document.querySelector("main").style.display = "block";
  for (const element of document.querySelectorAll("body *:not(svg *):not(script):not(.player *)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    let below = element, back = [0, 0, 0, 0];
    while (below && back[3] < 255) { back = rgb(getComputedStyle(below).backgroundColor); below = below.parentElement; }
    if (back[3] < 255) back = rgb(getComputedStyle(document.body).backgroundColor);
    const [a, b] = [light(rgb(style.color)), light(back)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.add(`${element.tagName}.${element.className} ${style.color} on ${back}: ${ratio.toFixed(2)}`);
  }
  return [...low];
})()"""


def test_on_a_phone_and_on_paper(page: Page, file: Path, tmp_path: Path) -> None:
    for where in ("", "#t=e21c/1", "#variants"):
        opened(page, file, where, width=390, height=844)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, where
    opened(page, file)
    page.looks(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.filters')).display") == "none"
    assert page.pdf(tmp_path / "page.pdf").stat().st_size > 20_000


@pytest.mark.parametrize(("trials", "size", "seconds"), [(4, 7_000_000, 1.7), (10, 10_000_000, 2.0)], ids=("4", "10"))
def test_a_large_run_is_small_and_opens_at_once(
    page: Page, tmp_path: Path, trials: int, size: int, seconds: float
) -> None:
    run, evidence = runs.evals(200, trials)
    path = tmp_path / "large.html"
    path.write_text(report(run, evidence), encoding="utf-8")
    assert path.stat().st_size < size
    page.call("Performance.enable", timeDomain="threadTicks")  # which other processes of the machine do not lengthen
    page.open(path)
    took = {one["name"]: one["value"] for one in page.call("Performance.getMetrics")["metrics"]}["ProcessTime"]
    assert took < seconds, f"{took:.2f} s of the browser's time"
    assert len(shown(page)) == 200
    last = page.evaluate("[...document.querySelectorAll('.later')].pop()?.dataset.later")
    assert last, "the trials that passed are packed"
    page.evaluate(f"location.hash = {json.dumps('#t=' + last)}")
    page.until("document.querySelector('#view article')")
    assert "4 tool calls" in text(page, "#view"), "and unpacked when they are looked at"
    assert page.errors == []
