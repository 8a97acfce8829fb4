"""Pictures: what is drawn, by the marks in the SVG, in the page's colors."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest

from tfkd.reports.plots import (
    COLORS,
    Point,
    curve_picture,
    flip_picture,
    matrix_picture,
    price_pictures,
    reliability_picture,
)

POINTS = [
    Point("teacher", "keras", 91.1, 0.92),
    Point("student <b>", "keras", 17.6, 0.91, (0.9, 0.92)),
    Point("student <b>", "int8", 4.6, 0.909),
]


def texts(picture):
    root = xml.etree.ElementTree.fromstring(picture.svg)
    return [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_picture_is_well_formed_named_and_of_the_pages_colors():
    matrix = np.array([[3, -1], [0, 2]])
    pictures = [
        *price_pictures("Accuracy", {"megabytes": POINTS}),
        curve_picture("Training", "Accuracy", {"student": [0.1, 0.5]}),
        reliability_picture("Sure", {"student": (np.array([0.2, 0.9]), np.array([False, True]))}),
        matrix_picture("Matrix", "note", ["a$b$", "b"], matrix),
        flip_picture("Flips", ["a", "b"], np.array([1, 0]), np.array([0, 2])),
    ]
    for picture in pictures:
        root = xml.etree.ElementTree.fromstring(picture.svg)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert root.get("width") is None
        assert "viewBox" in root.attrib
        assert not set(COLORS) & set(re.findall("#[0-9a-f]{6}", picture.svg))
        assert "var(--ink)" in picture.svg
        # White would be a hole in the dark, black a hole in the light.
        assert not re.search("(fill|stroke): (#000000|#ffffff|black|white)", picture.svg)
    # A dollar sign is no mathematics.
    assert "a$b$" in texts(pictures[3])


def test_a_model_has_one_color_in_every_picture():
    prices = {"megabytes": POINTS, "milliseconds": POINTS[1:], "watts": POINTS[:1]}
    both = price_pictures("Accuracy", prices)
    assert [picture.title for picture in both] == [
        "Accuracy against megabytes",
        "Accuracy against milliseconds",
    ]
    assert "--series-0" not in both[1].svg
    assert "--series-1" in both[1].svg
    assert "Small marks are seeds." in both[0].note


def test_what_is_pointed_at_tells_its_name_as_text():
    (picture,) = price_pictures("Accuracy", {"megabytes": POINTS})
    root = xml.etree.ElementTree.fromstring(picture.svg)
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "teacher, keras: 0.9200 at 91.1",
        "student <b>, keras: 0.9100 at 17.6",
        "student <b>, int8: 0.9090 at 4.6",
    ]
    assert "student <b>" in texts(picture)


@pytest.mark.parametrize(
    ("prices", "ticks"),
    [((0.12, 0.47, 1.31), {"0.2", "0.5", "1"}), ((0.2, 91.0), {"0.3", "1", "3", "10", "30"})],
)
def test_prices_are_plain_figures_however_close(prices, ticks):
    points = [Point(f"model {price}", "keras", price, 0.9) for price in prices]
    (picture,) = price_pictures("Accuracy", {"megabytes": points})
    found = texts(picture)
    assert ticks <= set(found)
    assert not [text for text in found if "$" in text]


def test_ids_of_two_pictures_differ():
    pictures = price_pictures("Accuracy", {"megabytes": POINTS, "milliseconds": POINTS})
    first, second = (set(re.findall(r'\bid="([^"]*)"', picture.svg)) for picture in pictures)
    assert first
    assert not first & second
    for picture, known in zip(pictures, (first, second), strict=True):
        used = re.findall(r'(?:href="#|url\(#)([^")]*)', picture.svg)
        assert set(used) <= known


def test_same_figures_give_same_bytes():
    one, two = (price_pictures("Accuracy", {"megabytes": POINTS})[0].svg for _ in range(2))
    assert one == two


def test_counts_of_a_matrix_are_written_where_classes_are_few():
    names = [f"class{number}" for number in range(13)]
    few = matrix_picture("Few", "", names[:2], np.array([[30, 4], [0, 1234]]))
    assert [text for text in texts(few) if text.isdigit() or "," in text] == ["30", "4", "1,234"]
    many = matrix_picture("Many", "", names, np.eye(13, dtype=int) * 7)
    assert "7" not in texts(many)
    assert many.svg.count("opacity") == 13


@pytest.mark.parametrize(("count", "opacity"), [(10, 0.6), (5, 0.35)])
def test_a_count_is_as_dark_as_it_is_large(count, opacity):
    picture = matrix_picture("Shades", "", ["a", "b"], np.array([[10, 0], [0, count]]))
    shades = [float(value) for value in re.findall(r"opacity: ([0-9.]+)", picture.svg)]
    assert shades == [0.6, opacity]


def test_changed_rows_are_counted_in_whole_rows():
    picture = flip_picture("Flips", ["a", "b"], np.array([1, 0]), np.array([0, 1]))
    assert {"0", "1"} <= set(texts(picture))
    assert not [text for text in texts(picture) if "." in text]


def test_reliability_is_the_share_that_is_right_in_each_group():
    sure = np.repeat([0.05, 0.15, 0.12, 0.95, 1.0], 5)
    # Two rows of a group tell nothing.
    sure = np.concatenate([np.repeat(0.08, 5), sure, [0.55, 0.56]])
    right = np.repeat([False, False, True, False, True, True], 5)
    right = np.concatenate([right, [False, False]])
    picture = reliability_picture("Sure", {"model": (sure, right)})
    line = r'<path d="([^"]*)"[^>]*style="fill: none; stroke: var\(--series-0\)'
    path = re.search(line, picture.svg)
    points = re.findall(r"[ML] ([0-9.]+) ([0-9.]+)", path.group(1))
    assert len(points) == 3
    # Of the last group all are right, of the first none, of the second half.
    heights = [float(y) for _, y in points]
    assert heights[0] > heights[1] > heights[2]
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.01)
