"""Every table as it is printed and written: alignment, widths, escapes, what is left out."""

import dataclasses
import io

import pytest
from rich.console import Console

from tfkd.evaluation.table import Column, Shown, Table, figures, words

TABLE = Table(
    [
        words("File", ["keras", "dynamic_int8"]),
        figures("Size, MB", [438.005, 4.6], "{:.2f}"),
        figures("Agreement", [None, 0.97], "{:.4f}"),
    ]
)
MARKDOWN = """\
| File | Size, MB | Agreement |
| :--- | ---: | ---: |
| keras | 438.00 | - |
| dynamic_int8 | 4.60 | 0.9700 |"""
SENTENCE = "14 products int8 weights, integer activations, 2 lookups int8, 72 integer, 5 float"


def printed(table, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(table, soft_wrap=True)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_columns_of_words_and_of_figures():
    assert words("Seed", [0, "a"]) == Column("Seed", ("0", "a"), is_number=False, wraps=False)
    assert words("Why", ["a"], wraps=True) == Column("Why", ("a",), is_number=False, wraps=True)
    assert figures("Seeds", [3, None, 0]) == Column("Seeds", ("3", "-", "0"), is_number=True)
    assert figures("Speed-up", [12.345, None], "{:.1f}x").cells == ("12.3x", "-")


def test_rows_are_the_cells_below_the_titles():
    assert TABLE.rows == [("keras", "438.00", "-"), ("dynamic_int8", "4.60", "0.9700")]


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        _ = Table([words("a", ["x", "y"]), words("b", ["x"])]).rows


def test_markdown_has_words_to_the_left_and_figures_to_the_right():
    assert TABLE.markdown() == MARKDOWN


def test_console_has_words_to_the_left_and_figures_to_the_right():
    assert printed(TABLE) == [
        "File          Size, MB  Agreement",
        "─────────────────────────────────",
        "keras           438.00          -",
        "dynamic_int8      4.60     0.9700",
    ]


def test_no_rows():
    empty = Table([words("File", []), figures("MB", [], "{:.2f}")])
    assert empty.rows == []
    assert empty.markdown() == "| File | MB |\n| :--- | ---: |"
    assert printed(empty) == ["File  MB", "────────"]


def test_bars_do_not_end_a_cell_of_markdown():
    table = Table([words("a|b", ["c|d||"]), figures("MB", [1])])
    assert table.markdown() == ("| a\\|b | MB |\n| :--- | ---: |\n| c\\|d\\|\\| | 1 |")
    assert printed(table) == ["a|b    MB", "─────────", "c|d||   1"]


@pytest.mark.parametrize("is_markup", [True, False])
def test_names_are_not_markup(is_markup):
    table = Table([words("[bold]x", ["[red]a[/red]", "[/]", ":smile:"])])
    assert printed(table, markup=is_markup, emoji=is_markup) == [
        "[bold]x",
        "────────────",
        "[red]a[/red]",
        "[/]",
        ":smile:",
    ]
    assert table.markdown().splitlines()[2] == "| [red]a[/red] |"


def test_columns_without_a_figure_are_left_out():
    table = Table(
        [
            words("File", ["-", "-"]),
            figures("Accuracy", [None, None], "{:.4f}"),
            figures("Seeds", [None, 0]),
            figures("p50, ms", [None, None], "{:.2f}"),
        ]
    )
    titles = [column.title for column in table.without_empty("Accuracy").columns]
    assert titles == ["File", "Accuracy", "Seeds"]
    assert [column.title for column in table.without_empty().columns] == ["File", "Seeds"]
    assert TABLE.without_empty() == TABLE


@pytest.mark.parametrize("width", [1, 10, 32])
def test_a_narrow_console_gets_every_cell_whole(width):
    assert printed(TABLE, width) == printed(TABLE)
    long = Table([words("Model", ["x" * 100]), *(figures(name, [5]) for name in "abc")])
    assert printed(long, width)[2] == f"{'x' * 100}  5  5  5"


# Of the width of a whole result.
WIDE = Table(
    [
        words("Arm", ["teacher", "student"]),
        words("File", ["keras", "dynamic_int8"]),
        figures("Accuracy", [0.2505, 0.7], "{:.4f}"),
        figures("Parameters", [109_482_240, 65_668], "{:,}"),
        figures("Size, MB", [438.005, 2.08], "{:.2f}"),
        figures("Speed-up", [1.0, 82.5], "{:.1f}x"),
        words("Operators", [SENTENCE, "none"], wraps=True),
    ]
)


def on_terminal(table, width):
    return printed(table, width, force_terminal=True, color_system=None, no_color=True)


def test_a_terminal_too_narrow_gets_parts_that_name_their_rows():
    assert on_terminal(WIDE, 60) == [
        "Arm      File          Accuracy   Parameters  Size, MB",
        "──────────────────────────────────────────────────────",
        "teacher  keras           0.2505  109,482,240    438.00",
        "student  dynamic_int8    0.7000       65,668      2.08",
        "",
        "Arm      File          Speed-up  Operators",
        "────────────────────────────────────────────────────────────",
        "teacher  keras             1.0x  14 products int8 weights,",
        "                                 integer activations, 2",
        "                                 lookups int8, 72 integer, 5",
        "                                 float",
        "student  dynamic_int8     82.5x  none",
    ]


def test_one_too_narrow_for_that_gets_a_row_as_a_block():
    assert on_terminal(WIDE, 40) == [
        "Arm         teacher",
        "File        keras",
        "Accuracy    0.2505",
        "Parameters  109,482,240",
        "Size, MB    438.00",
        "Speed-up    1.0x",
        "Operators   14 products int8 weights,",
        "            integer activations, 2",
        "            lookups int8, 72 integer, 5",
        "            float",
        "",
        "Arm         student",
        "File        dynamic_int8",
        "Accuracy    0.7000",
        "Parameters  65,668",
        "Size, MB    2.08",
        "Speed-up    82.5x",
        "Operators   none",
    ]
    # Parts of one figure each would fit, but take more lines: 3 * 5 against 2 * 5.
    four = Table([words("Arm", ["a" * 20, "b"]), *(figures(name * 9, [1, 2]) for name in "xyz")])
    assert on_terminal(four, 32)[:3] == [f"Arm        {'a' * 20}", "xxxxxxxxx  1", "yyyyyyyyy  1"]
    only_words = Table([words("Name", ["bert_tiny"]), words("Why", [SENTENCE], wraps=True)])
    assert on_terminal(only_words, 30)[:2] == ["Name  bert_tiny", "Why   14 products int8"]


@pytest.mark.parametrize("width", range(25, 170, 9))
def test_whatever_the_width_no_line_is_wider_and_no_figure_is_cut(width):
    lines = on_terminal(WIDE, width)
    assert max(map(len, lines)) <= width
    shown = " ".join(lines).split()
    for column in WIDE.columns:
        assert set(column.title.split()) <= set(shown)
        for cell in column.cells:
            assert set(cell.split()) <= set(shown), cell


def test_a_terminal_wide_enough_and_a_file_get_it_whole():
    assert on_terminal(TABLE, 80) == printed(TABLE)
    assert printed(WIDE, 40)[2].startswith("teacher  keras           0.2505  109,482,240    438.00")
    assert on_terminal(Table([words("File", []), figures("MB", [])]), 3) == []


def test_wide_characters_keep_columns_in_line():
    assert printed(Table([words("Label", ["日本", "a"]), figures("F1", [0.5, 1.0])])) == [
        "Label   F1",
        "──────────",
        "日本   0.5",
        "a      1.0",
    ]


def test_only_columns_that_wrap_are_wrapped():
    table = Table([words("Recipe", ["int16x8"]), words("Operators", [SENTENCE], wraps=True)])
    assert printed(table, 120)[2] == f"int16x8  {SENTENCE}"
    expected = [
        "Recipe   Operators",
        "─────────────────────────────────",
        "int16x8  14 products int8",
        "         weights, integer",
        "         activations, 2 lookups",
        "         int8, 72 integer, 5",
        "         float",
    ]
    assert printed(table, 33) == expected
    # Narrower than 24 characters it does not get.
    assert printed(table, 10) == expected


@dataclasses.dataclass(frozen=True, repr=False)
class Found(Shown):
    """A result of two lines and a table."""

    name: str

    def render(self):
        table = Table([words("Arm", [self.name]), figures("Size, MB", [17.65], "{:.2f}")])
        return ["First to know: a < b.", table, "x" * 300]


def test_a_result_shows_itself_as_its_command_does():
    lines = repr(Found("student [b]")).splitlines()
    assert lines[:2] == ["First to know: a < b.", "Arm          Size, MB"]
    assert lines[3:] == ["student [b]     17.65", "x" * 300]


def test_a_notebook_gets_the_table_with_what_html_would_read_spelled():
    html = Found("<script>")._repr_html_()
    assert html.startswith('<pre style="line-height: normal; overflow-x: auto">')
    assert "First to know: a &lt; b." in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
