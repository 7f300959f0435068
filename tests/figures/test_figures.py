"""What figures show of sweeps whose effects are known, and that the same results give the same bytes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sweep_example import write_grid, write_lengths, write_orders, write_single

from dlm.cli import cli
from dlm.errors import DataError, SettingsError
from dlm.figures import draw, figures_of, read_sweep_results, write_figure
from dlm.figures.bumps import _apart, short_names
from dlm.figures.style import COLOURS, DASHES, MARKERS, looks
from dlm.figures.sweep import Line
from dlm.figures.tradeoff import front


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_grid(folder)
    write_single(folder)
    write_lengths(folder)
    return folder


def titled(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def texts(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.texts]


def test_a_sweep_has_the_figures_that_it_has_something_for(tables: Path) -> None:
    assert [*figures_of(read_sweep_results(tables, "grid"))] == ["effects", "tradeoff", "interactions", "ranks"]
    assert [*figures_of(read_sweep_results(tables, "single"))] == ["effects"]
    assert [*figures_of(read_sweep_results(tables, "lengths"))] == ["length"]


def test_the_front_holds_what_nothing_beats(tables: Path) -> None:
    lines = read_sweep_results(tables, "grid").panels["M", "sudoku"]
    # one-dual is slower and worse than two-none; all others are the best at their speed.
    assert [line.setting for line in front(lines)] == ["one-none", "two-none", "two-dual", "four-none", "four-dual"]
    figure = draw("tradeoff", read_sweep_results(tables, "grid"))
    assert titled(figure) == (
        "Up to 2.0 times the best setting's tokens a pass within the best score's 95 % interval (M, words)"
    )
    assert [axes.get_xlabel() for axes in figure.axes] == ["tokens per forward pass"] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["score, % right"] * 2


def test_what_a_budget_ended_is_hollow_and_not_of_the_front(tables: Path) -> None:
    results = read_sweep_results(tables, "grid")
    lines = tuple(replace(line, stopped="budget" if line.setting == "two-none" else "") for line in results.lines)
    figure = draw("tradeoff", replace(results, lines=lines))
    ringed = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_markersize() == 11]
    assert ringed and 2.0 not in ringed
    hollow = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_markersize() == 5 and
              line.get_markerfacecolor() == "white" and len(line.get_xdata())]  # fmt: skip
    assert hollow == [2.0]
    assert "stopped by the budget" in [text.get_text() for text in figure.legends[0].texts]


def test_settings_of_empty_answers_are_counted_where_they_have_no_place(tables: Path) -> None:
    results = read_sweep_results(tables, "grid")
    lines = tuple(
        replace(line, numbers={**line.numbers, "tokens_per_pass": 0.0}) if line.setting == "two-none" else line
        for line in results.lines
    )
    figure = draw("tradeoff", replace(results, lines=lines))
    assert [texts(axes)[-1] for axes in figure.axes] == ["not shown: 1 setting of empty answers"] * 2
    assert "not shown" not in " ".join(texts(draw("tradeoff", results).axes[0]))


def test_an_interval_without_an_end_goes_on_to_the_edge(tables: Path) -> None:
    results = read_sweep_results(tables, "single")

    def arrows(name: str, lines: tuple[Line, ...]) -> int:
        axes = draw(name, replace(results, lines=lines)).axes
        return sum(text.arrow_patch is not None for each in axes for text in each.texts if hasattr(text, "arrow_patch"))

    endless = tuple(
        replace(line, high=None, numbers={key: value for key, value in line.numbers.items() if key != "ratio_high"})
        for line in results.lines
    )
    assert (arrows("effects", results.lines), arrows("effects", endless)) == (0, 2)
    speeds = [
        tuple(replace(line, numbers={**line.numbers, "tokens_per_pass": at + 1.0}) for at, line in enumerate(lines))
        for lines in (results.lines, endless)
    ]
    # "baseline" is annotated without an arrow
    assert [arrows("tradeoff", lines) for lines in speeds] == [0, 3]


def test_one_factor_at_a_time_is_shown_as_what_it_leaves_of_the_baseline(tables: Path) -> None:
    figure = draw("effects", read_sweep_results(tables, "single"))
    assert titled(figure) == "end_tokens: free leaves 40 % of the baseline's score, the largest change (M, words)"
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["parallel: four", "end_tokens: free"]
    ends = sorted(round(bar.get_x() + bar.get_width()) for bar in axes.patches)
    assert ends == [40, 92]
    hollow = [bar.get_hatch() is not None for bar in axes.patches]
    assert hollow == [True, False], "the corrected test decides, not the interval: parallel, below, is not seen"
    assert [line.get_xdata() for line in axes.lines if line.get_marker() == "D"] == [[42.0]]


def test_effects_of_a_grid_are_in_points(tables: Path) -> None:
    figure = draw("effects", read_sweep_results(tables, "grid"))
    assert titled(figure).startswith("rule: four moves a score most: by -13.0 points from the mean of all settings")
    assert figure.axes[0].get_xlabel() == "effect, percentage points"


def test_interactions_carry_their_numbers_and_what_is_beyond_doubt(tables: Path) -> None:
    figure = draw("interactions", read_sweep_results(tables, "grid"))
    assert titled(figure) == "rule and cache interact most; 2 of 12 cells (*) beyond chance, corrected for all effects"
    assert sorted(texts(figure.axes[0])) == ["+1.0"] * 5 + ["-3.0*"]


def test_ranks_run_from_context_to_context(tables: Path) -> None:
    figure = draw("ranks", read_sweep_results(tables, "grid"))
    assert titled(figure).startswith(
        "100 % of pairs of methods change their order between contexts, 20 % by chance alone (M, "
    )
    (one, two, four, *_) = [list(line.get_ydata()) for line in figure.axes[0].lines]
    assert (one, two, four) == ([1, 3], [2, 2], [3, 1])
    assert texts(figure.axes[0]) == ["four", "two", "one"]  # as their lines end, from the top
    assert _apart({"a": 3.1, "b": 3.0, "c": 3.0, "d": 5.0}) == pytest.approx({"b": 3.0, "c": 3.36, "a": 3.72, "d": 5.0})
    named = ["rule=one, cache=none", "rule=four, cache=none", "rule=one, cache=dual"]
    assert [*short_names(named).values()] == ["baseline", "rule=four", "cache=dual"]


def test_lengths_stand_beside_what_they_cut_off(tables: Path) -> None:
    figure = draw("length", read_sweep_results(tables, "lengths"))
    assert titled(figure) == "Setting 8: 90 % of its answers are truncated, of 7 tokens on average (M, words)"
    above, below = figure.axes
    assert list(below.lines[1].get_ydata()) == [90, 10, 0]
    assert (below.get_xlabel(), list(below.get_xticks())) == ("answer positions", [8, 16, 32])
    assert above.get_ylabel() == "score, % right"


def test_the_order_map_tells_left_to_right_from_the_other_way_round(tmp_path: Path) -> None:
    figure = draw("order", read_sweep_results(write_orders(tmp_path), "orders"))
    assert titled(figure).startswith("Order of decoding: mean tau from -1.00 to 1.00 among the settings")
    first, second = (axes.images[0].get_array().tolist() for axes in figure.axes[:2])
    assert first == [[0, 0.2, 0.4, 0.6, 0.8, 1]] * 3
    assert second == [row[::-1] for row in first]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tradeoff", "its settings take as many tokens a pass"),
        ("interactions", "no two factors were crossed"),
        ("ranks", "no methods are ranked in several contexts"),
        ("order", "its records hold no order of decoding"),
    ],
)
def test_what_a_sweep_does_not_have_is_said_in_a_line(tables: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw(name, read_sweep_results(tables, "lengths"))
    with pytest.raises(SettingsError, match="no figure 'efects': did you mean 'effects'"):
        draw("efects", read_sweep_results(tables, "lengths"))


def test_the_same_results_give_the_same_bytes(tables: Path, tmp_path: Path) -> None:
    results = read_sweep_results(tables, "single")
    written = [write_figure("effects", results, tmp_path / name) for name in ("one", "two")]
    assert [path.name for path in written[0]] == ["effects.png", "effects.svg"]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert "<dc:date>" not in (tmp_path / "one" / "effects.svg").read_text()


def test_the_verb_draws_one_figure_or_all(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "Snakefile").touch()
    shutil.copy(repository / "params" / "tiny.yaml", tmp_path / "params")
    write_grid(tmp_path / "results" / "tiny" / "tables")
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli, ["figure", "grid", "ranks"], catch_exceptions=False)
    drawn = tmp_path / "results" / "figures" / "grid"
    assert sorted(path.name for path in drawn.iterdir()) == ["ranks.png", "ranks.svg"]
    done = CliRunner().invoke(cli, ["figure", "grid", "--out", "elsewhere"], catch_exceptions=False)
    assert done.stderr.count("figure grid: ") == 4
    assert len([*(tmp_path / "elsewhere").iterdir()]) == 8
    with pytest.raises(SettingsError, match="no sweep is named 'gird'"):
        CliRunner().invoke(cli, ["figure", "gird"], catch_exceptions=False)
    with pytest.raises(SettingsError, match="no figure 'rank': did you mean 'ranks'"):
        CliRunner().invoke(cli, ["figure", "grid", "rank"], catch_exceptions=False)


def test_no_two_looks_depend_on_colour_alone() -> None:
    found = looks([str(number) for number in range(8)])
    assert len({marker for _, marker, _ in found.values()}) == 8
    assert len(set(COLOURS)) == len(MARKERS) == 8
    assert len({str(dash) for dash in DASHES}) == 5


def test_a_damaged_table_is_named(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sensitivity_none.csv: no such file"):
        read_sweep_results(tables, "none")
    write_single(tmp_path)
    path = tmp_path / "sensitivity_single.csv"
    path.write_text(path.read_text().replace("0.5,", "half,", 1))
    with pytest.raises(DataError, match=r"sensitivity_single.csv: damaged"):
        read_sweep_results(tmp_path, "single")
