"""Large sets in a browser: an index that finds records, and a server that shows them on this machine."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from PIL import Image

from mustela.data.check import Checked
from mustela.data.faults import Fault
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.errors import ConfigError
from mustela.regions import Box
from mustela.view.index import RecordIndex, Wanted
from mustela.view.server import make_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def record(name: str, answer: str, *faults: Fault) -> Checked:
    region = RegionAnnotation(Box(1, 2, 30, 40))
    question = Turn("user", "<image>\nWhat is <bbox_location0>?", (region,))
    turns = (question, Turn("assistant", answer))
    return Checked(Record(name, (ImageRef("a.jpg", (64, 48)),), turns), faults)


def fault(kind: str, severity: str = "warning") -> Fault:
    return Fault(kind, severity, "x", 3, "bad", 0, "box", "x2 < x1.", "")  # type: ignore[arg-type]


CHECKED = [
    record("one", "A dog."),
    record("two", "a Cat.", fault("box.clamped")),
    Checked(None, (fault("box.swapped", "error"),)),
    record("four", "a dog that sleeps on <b>the chair</b> beside the window."),
    *(record(f"more-{number}", "A dog.") for number in range(60)),
]


@pytest.fixture
def index() -> Iterator[RecordIndex]:
    with RecordIndex(CHECKED) as made:
        yield made


def test_what_goes_in_comes_out(index) -> None:
    assert len(index) == len(CHECKED)
    assert [index[number] for number in (3, 2, 1, 0)] == CHECKED[3::-1]
    assert index.kinds == {"box.clamped": 1, "box.swapped": 1}
    assert index.answers["A dog"] == 61
    assert (index.faulty, index.longest) == (2, CHECKED[3].record.characters)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(text="CAT"), [1]),
        (Wanted(text="bad"), [2]),
        (Wanted(answer="a Cat"), [1]),
        (Wanted(fault="*"), [1, 2]),
        (Wanted(fault="box.swapped"), [2]),
        (Wanted(text="chair", fault="-"), [3]),
        (Wanted(least=60), [3]),
        (Wanted(most=0), [2]),
        (Wanted(text="conversations"), []),
    ],
)
def test_filters_go_over_the_whole_file(index, wanted, found) -> None:
    assert index.search(wanted) == (found, len(index))


def test_a_search_goes_on_where_it_stopped(index) -> None:
    numbers, rest = index.search(Wanted(text="dog"), limit=10)
    assert numbers == [0, 3, *range(4, 12)]
    more, rest = index.search(Wanted(text="dog"), start=rest, limit=1000)
    assert (more, rest) == (list(range(12, 64)), 64)
    assert index.search(Wanted(), start=64) == ([], 64)


def test_a_search_without_patience_says_how_far_it_came(index) -> None:
    assert index.search(Wanted(), start=7, patience=-1) == ([], 7)


@contextmanager
def served(index: RecordIndex, folder) -> Iterator[int]:
    with make_server(index, title="x.json", folder=folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def fetch(port: int, address: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", address, headers={} if host is None else {"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def cards(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_pages_of_records_with_pictures_and_filters(index, tmp_path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    with served(index, tmp_path) as port:
        status, html = fetch(port, "/")
        assert status == 200
        assert len(cards(html)) == 24
        assert "data:image/jpeg;base64," in html
        assert "of 64 records" in html
        more = re.search(r'href="(\?start=\d+)">Next page', html)
        assert more is not None
        _, second = fetch(port, f"/{more[1]}")
        assert cards(second)[0] == "more-20"
        assert "First page" in second
        _, html = fetch(port, "/?text=chair&fault=-&least=x&most=")
        assert cards(html) == ["four"]
        assert 'value="chair"' in html
        assert "&lt;b&gt;the chair&lt;/b&gt;" in html
        assert "Next page" not in html


def test_nothing_else_is_served(index, tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with served(index, tmp_path) as port:
        assert fetch(port, "/secret.txt")[0] == 404
        assert fetch(port, "/", host="evil.example:80")[0] == 404
        assert fetch(port, "/", host=f"localhost:{port}")[0] == 200
        with pytest.raises(ConfigError, match=f"--port {port}: .*Choose another"):
            make_server(index, title="x", folder=None, port=port)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_what_the_server_found(index, tmp_path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    with served(index, tmp_path) as port:
        address = f"http://127.0.0.1:{port}/?text=dog&least=0&most=40"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        done = subprocess.run(
            [str(CHROMIUM), *flags, address], capture_output=True, text=True, check=True, timeout=300
        )
    shown = re.findall(r'<article class="card"[^>]*>', done.stdout)
    assert len(shown) == 24
    assert not any("hidden" in card.partition("data-text")[0] for card in shown)
    assert 'value="dog"' in done.stdout
    assert "Next page" in done.stdout
