"""The folder for browsers in a headless Chromium, which is given files of the folder and no net."""

import mimetypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from tests.compression.test_kits import PAIRS, TEXTS, classifier, written
from tests.hard_texts import character_vocabulary
from tfkd.compression import kits
from tfkd.compression.formats import WEB
from tfkd.compression.kits.text_classifier import TextClassifier as PythonClient
from tfkd.models import code_points
from tfkd.models.wordpiece import WordPieceTokenizer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PROGRAMS = Path(kits.__file__).parent / "web"
ADDRESS = "http://folder.test/"
# Half characters are no text.
POINTS = {point for point in range(0x110000) if not 0xD800 <= point < 0xE000}
TOKENIZER = """async ([vocabulary, kind, length]) => {
  const { WordPieceTokenizer } = await import("./wordpiece.js");
  const tables = await (await fetch("./code_points.json")).json();
  window.tokenizer = new WordPieceTokenizer(vocabulary, tables[kind], length);
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens the page of a folder; what the folder does not hold is not found."""
    context = browser.new_context()

    def open_folder(folder):
        page = context.new_page()

        def answer(route):
            path = folder / (route.request.url.removeprefix(ADDRESS) or "index.html")
            if route.request.url.startswith(ADDRESS) and path.is_file():
                kind = mimetypes.guess_type(path.name)[0]
                route.fulfill(body=path.read_bytes(), content_type=kind)
            else:
                route.fulfill(status=404)

        page.route("**/*", answer)
        page.goto(ADDRESS)
        return page

    yield open_folder
    context.close()


@pytest.fixture
def programs(tmp_path):
    """A folder without a model and without LiteRT.js."""
    shutil.copy(code_points.PATH, tmp_path)
    return shutil.copytree(PROGRAMS, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("length", [12, 13, 96])
@pytest.mark.parametrize("lowercase", [True, False])
def test_javascript_gives_our_tokens(lowercase, length, opened, programs):
    vocabulary = character_vocabulary()
    ours = WordPieceTokenizer(vocabulary, length, lowercase)
    page = opened(programs)
    page.evaluate(TOKENIZER, [vocabulary, "uncased" if lowercase else "cased", length])
    long_words = ["a" * 100, "a" * 101, "é" * 50 + "b", "中" * 40, "😀" * 26]
    for rows in (TEXTS + long_words, PAIRS):
        given = [[row] if isinstance(row, str) else list(row) for row in rows]
        found = page.evaluate("rows => rows.map(row => tokenizer.encode(...row))", given)
        arrays = ours.encode(rows, length)
        for row, answer in enumerate(found):
            size = arrays["padding_mask"][row].sum()
            assert answer["ids"] == arrays["token_ids"][row, :size].tolist(), rows[row]
            assert answer["segments"] == arrays["segment_ids"][row, :size].tolist(), rows[row]


@pytest.mark.parametrize("kind", ["cased", "uncased"])
def test_javascript_reads_every_character_as_we_do(kind, opened, programs):
    page = opened(programs)
    page.evaluate(TOKENIZER, [character_vocabulary(), kind, 8])
    answer = """() => Array.from({ length: 0x110000 }, (_, point) =>
      point >> 11 === 27 ? "" : tokenizer.normalized(String.fromCodePoint(point))).join("|")"""
    table = code_points.code_points(kind == "uncased")
    ours = [chr(point).translate(table) if point in POINTS else "" for point in range(0x110000)]
    assert page.evaluate(answer).split("|") == "|".join(ours).split("|")


def test_nothing_but_blanks_parts_words_after_the_table():
    """JavaScript parts them at blanks, Python at whatever it takes for one."""
    for lowercase in (True, False):
        table = code_points.code_points(lowercase)
        written = "".join(chr(point).translate(table) for point in POINTS)
        assert {character for character in written if character.isspace()} == {" "}


def test_the_page_says_what_is_missing(opened, programs):
    page = opened(programs)
    said = page.inner_text("#said")
    assert said.startswith("This page needs LiteRT.js and a server. In its folder, once: npm inst")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm, which is not installed")
@pytest.mark.parametrize(
    ("task", "num_texts", "recipe", "most"),
    [
        ("single_label", 1, "float32", 1e-5),
        ("multi_label", 2, "float32", 1e-5),
        # Integer activations are rounded by what is before them, which differs in the last bit.
        ("single_label", 1, "dynamic_int8", 0.02),
    ],
)
def test_a_browser_gives_our_scores(task, num_texts, recipe, most, opened, tmp_path):
    folder = written(classifier(task, num_texts), tmp_path, WEB, recipe)
    subprocess.run(["npm", "install", "--silent"], cwd=folder, check=True)
    page = opened(folder)
    page.wait_for_selector("body[data-ready]", state="attached")
    texts = TEXTS if num_texts == 1 else PAIRS
    given = [[row] if isinstance(row, str) else list(row) for row in texts]
    ask = "async rows => { const found = []; for (const row of rows) found.push(await classifier."
    found = page.evaluate(ask + "predict(...row)); return found; }", given)
    client = PythonClient(folder)
    scores = np.array([list(answer["scores"].values()) for answer in found])
    np.testing.assert_allclose(scores, client.scores(texts), atol=most)
    expected = client.predict(texts)
    labels = [answer.get("labels", [answer.get("label")]) for answer in expected]
    agreement = np.mean([one["labels"] == other for one, other in zip(found, labels, strict=True)])
    assert agreement == 1 or (recipe == "dynamic_int8" and agreement >= 0.98)
    page.fill("#first", "Oil prices fell.")
    page.wait_for_function("document.getElementById('said').textContent.endsWith(' ms')")
    assert page.locator("meter").count() == 3
