"""The page at `/` in a browser: it shows the server's own answers, and all of it as text."""

import json
import math
import shutil
import threading
import urllib.request

import numpy as np
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.serving.test_app import LIMITS, One
from tfkd.serving.app import build_app
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.callers import BearersOnly
from tfkd.serving.contract import ServedModel
from tfkd.serving.models import Models
from tfkd.serving.server import listen

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
MARKUP = "<img src=x onerror=alert(1)>"
TEXT = 'rain <script>alert("1")</script>'


class Constant:
    """The same logits for each text; keeps what it was asked."""

    def __init__(self, *logits):
        self.logits = logits
        self.texts = []

    def predict(self, texts):
        self.texts += texts
        return np.array([self.logits] * len(texts), np.float32)


class Site:
    """A server of a student, a teacher and maybe a model of pairs in a thread, and its address."""

    def __init__(self, has_pairs=True, token=None):
        labels = ("weather", MARKUP)
        self.student, self.teacher = Constant(math.log(3), 0.0), Constant(0.0, math.log(4))
        self.pairs = Constant(-1.5)
        score = ServedModel("pairs", "regression", ("score",), num_texts=2)
        models = [
            One(ServedModel("student", "single_label", labels), self.student),
            One(ServedModel("teacher", "single_label", labels), self.teacher),
        ]
        if has_pairs:
            models.append(One(score, self.pairs))
        self.models = Models(models, QueueLimits())
        app = build_app(self.models, LIMITS, is_local=True)
        self.app = app if token is None else BearersOnly(app, token)

    def __enter__(self):
        listener = listen("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, ws="none"))
        self.thread = threading.Thread(target=self.server.run, args=([listener],))
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def site():
    with Site() as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, site):
    """The page, opened; at the end nothing was asked of elsewhere and nothing was complained of."""
    opened = browser.new_page()
    requests, complaints = [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.goto(site.address)
    opened.wait_for_selector("#addresses li")
    yield opened
    opened.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((site.address, "data:"))] == []


@needs_chromium
def test_models_answer_side_by_side_with_bars_and_milliseconds(page, site):
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_label("Second text").fill("goal")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("#models section:nth-child(3) .note")
    blocks = page.locator("#models section")
    assert blocks.locator("h2").all_inner_texts() == ["student", "teacher", "pairs"]
    lines = [blocks.nth(index).locator("li").all_inner_texts() for index in range(3)]
    assert lines == [
        ["weather 0.7500", f"{MARKUP} 0.2500"],
        [f"{MARKUP} 0.8000", "weather 0.2000"],
        [],
    ]
    widths = blocks.nth(0).locator(".bar").evaluate_all("bars => bars.map(bar => bar.style.width)")
    assert [float(width.rstrip("%")) for width in widths] == pytest.approx([75, 25], abs=1e-3)
    notes = blocks.locator(".note").all_inner_texts()
    assert all(note.startswith("version 1, ") and note.endswith(" ms") for note in notes)
    assert blocks.nth(2).locator("p").all_inner_texts()[1] == "-1.5000"
    assert site.student.texts[-1] == site.teacher.texts[-1] == TEXT
    assert site.pairs.texts[-1] == (TEXT, "goal")
    assert page.locator("#models img, #models script").count() == 0


@needs_chromium
def test_a_refusal_stands_where_the_answer_would(browser, site):
    opened = browser.new_page()
    opened.goto(site.address)
    opened.get_by_label("Text", exact=True).fill("r" * 101)
    opened.get_by_role("button", name="Ask").click()
    opened.wait_for_selector("#models section:nth-child(3) p")
    assert opened.locator("#models p").all_inner_texts() == [
        "Expected texts of at most 100 characters. Received: examples[0] with 101.",
        "Expected texts of at most 100 characters. Received: examples[0] with 101.",
        "Expected texts of at most 100 characters. Received: examples[0] with 101.",
    ]
    opened.close()


@needs_chromium
def test_a_second_text_is_asked_for_only_where_a_model_takes_pairs(page, browser):
    page.get_by_label("Second text").wait_for(state="visible")
    with Site(has_pairs=False) as site:
        opened = browser.new_page()
        opened.goto(site.address)
        opened.get_by_role("button", name="Ask").click()
        opened.wait_for_selector("#models section:nth-child(2) .note")
        assert not opened.get_by_label("Second text").is_visible()
        opened.close()


@needs_chromium
def test_a_token_is_asked_for_where_the_server_has_one(page, browser):
    assert not page.get_by_label("Token").is_visible()
    refused = "Expected Authorization: Bearer and the server's token. Received another or none."
    with Site(token="0123456789abcdef") as site:
        opened = browser.new_page()
        opened.goto(site.address)
        opened.get_by_label("Token").fill("another")
        ask = opened.get_by_role("button", name="Ask")
        ask.click()
        opened.wait_for_function("find('trouble').textContent !== ''")
        assert opened.locator("#trouble").inner_text() == refused
        assert Axe().run(opened).violations_count == 0
        opened.get_by_label("Token").fill("0123456789abcdef")
        ask.click()
        opened.wait_for_selector("#models section:nth-child(3) .note")
        assert opened.locator("#trouble").inner_text() == ""
        assert (
            "POST /v1/models/{name}:predict" in opened.locator("#addresses code").all_inner_texts()
        )
        opened.close()


@needs_chromium
def test_it_lists_the_addresses_of_the_document(page, site):
    with urllib.request.urlopen(f"{site.address}openapi.json") as answer:
        paths = json.load(answer)["paths"]
    listed = page.locator("#addresses code").all_inner_texts()
    assert [line.split()[1] for line in listed] == list(paths)
    assert "POST /v1/models/{name}:predict" in listed


@needs_chromium
@pytest.mark.parametrize("width", [1200, 360])
def test_it_is_accessible_and_fits_a_phone(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("#models section:nth-child(3) .note")
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_its_headers_let_no_other_script_run(site):
    with urllib.request.urlopen(site.address) as answer:
        headers, text = answer.headers, answer.read().decode()
    assert headers["content-type"] == "text/html; charset=utf-8"
    parts = headers["content-security-policy"].split("; ")
    policy = dict(part.split(" ", 1) for part in parts)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["script-src"].startswith("'sha256-")
    assert "unsafe" not in headers["content-security-policy"]
    assert text.count("<script") == text.count("<style") == 1
    assert " style=" not in text
