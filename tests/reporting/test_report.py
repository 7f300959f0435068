"""The report: one file with every cell's value, lineage and answers, escaped, and nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_project import make_project

from dlm.cli import cli
from dlm.errors import SettingsError
from dlm.inspection import find_row
from dlm.params.layout import Layout
from dlm.reporting import write_report
from dlm.reporting.samples import sample

SLOW, FAST = [1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]


class Page(HTMLParser):
    """Ids, links and addresses of a page; refuses one whose elements are not closed in order."""

    VOID = ("meta", "input", "br", "img", "link")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[key]) for key in ("href", "src") if key in found]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("reported") / "here", {"slow": SLOW, "fast": FAST})


@pytest.fixture(scope="module")
def html(layout: Layout) -> str:
    path = layout.base / "report.html"
    assert write_report(layout, path, about="A scale <of tests>", answers=1) == 1
    return path.read_text()


def test_every_link_leads_somewhere_and_nothing_is_asked_of_a_server(html: str) -> None:
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "://" not in html
    assert "A scale &lt;of tests&gt;" in html


def test_each_cell_has_its_value_lineage_and_answers_right_and_wrong(html: str) -> None:
    cells = re.findall(r'<details class="cell".*?</details>', html, flags=re.S)
    assert len(cells) == 2
    slow = cells[0]
    assert "<code>two:tuned/words/slow</code>" in slow
    assert re.findall(r"<h5>(.*?)</h5>", slow) == ["✓ right: document w0", "✗ wrong: document w2"]
    for kind in ("scores", "responses", "sampler", "execution", "data", "run"):
        assert f'<span class="kind">{kind}</span>' in slow
    assert 'href="#checkpoint-tuned-' in slow
    assert html.count("<summary>tuned</summary>") == 1, "a checkpoint's line stands once"


def test_tokens_tell_the_pass_that_committed_them(layout: Layout, html: str) -> None:
    right, wrong = sample(find_row(layout, "two:tuned/words/slow"), 1)
    assert "".join(token.text for token in right.tokens) == right.answer.response == "slow says <1> of 0"
    count = len(right.tokens)
    assert [token.step for token in right.tokens] == list(range(count, 0, -1)), "the project decodes backwards"
    assert (right.tokens[0].share, right.tokens[-1].share) == (1.0, 0.0)
    assert (right.mark, wrong.mark, right.passes) == ("right", "wrong", count)
    assert f"&lt;<sub>{count - 10}</sub>" in html
    assert "dlm watch --records two:tuned/words/slow --document w0 --scale tiny" in html


def test_the_same_results_give_the_same_page(layout: Layout, html: str, tmp_path: Path) -> None:
    write_report(layout, tmp_path / "again.html", about="A scale <of tests>", answers=1)
    assert (tmp_path / "again.html").read_text() == html


def test_cells_beyond_the_room_are_counted(layout: Layout, tmp_path: Path) -> None:
    write_report(layout, tmp_path / "short.html", ["two"], cells=1)
    assert "1 more cells are not shown one by one" in (tmp_path / "short.html").read_text()


def test_what_is_not_made_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no table 'tow' at scale 'tiny'; did you mean 'two'"):
        write_report(layout, tmp_path / "none.html", ["tow"])
    with pytest.raises(SettingsError, match="scale 'micro' has no table yet"):
        write_report(Layout("micro", layout.root), tmp_path / "none.html")


def test_the_verb_writes_it(layout: Layout, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.root / "params" / "tiny.yaml").write_text((repository / "params" / "tiny.yaml").read_text())
    monkeypatch.chdir(layout.root)
    done = CliRunner().invoke(cli, ["report", "two", "--out", "there.html"], catch_exceptions=False)
    assert "report: 1 table in" in done.stderr
    assert (layout.root / "there.html").is_file()
