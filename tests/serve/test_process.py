"""`mustela serve` as a process: its start, its end, and what it says when it can't start."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.serve.running import MODEL, question

from mustela.cli.main import build_parser, main


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "mustela", "serve", str(folder), "--port", "0", "--name", MODEL]
    process = subprocess.Popen(
        [*command, "--device", "cpu", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"ready: http://127.0.0.1:(\d+)", line)
            if found:
                yield process, int(found[1])
                return
        raise AssertionError("the server did not start")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def asked(port: int, **settings: object) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps(question("Is it?", **settings))
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    with closing(connection), connection.getresponse() as response:
        yield response


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_before_the_end(tiny_model_folder: Path, number: signal.Signals) -> None:
    with started(tiny_model_folder) as (process, port), ExitStack() as stack:
        streams = [stack.enter_context(asked(port, stream=True, max_tokens=200)) for _ in range(3)]
        heads = [stream.read(20) for stream in streams]
        process.send_signal(number)
        ends = [stream.read() for stream in streams]
        assert all(head.startswith(b"data: ") for head in heads)
        assert all(end.endswith(b"data: [DONE]\n\n") for end in ends)
        assert process.wait(120) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


@pytest.mark.slow
def test_requests_are_logged_when_asked(tiny_model_folder: Path) -> None:
    with started(tiny_model_folder, "--log_requests") as (process, port):
        with asked(port, max_tokens=2) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        assert process.stdout is not None
        said = process.stdout.read()
        assert '"POST /v1/chat/completions HTTP/1.1" 200' in said
        assert "Is it" not in said


def test_nobody_else_reaches_it_unless_it_is_told_so() -> None:
    assert build_parser().parse_args(["serve", MODEL]).host == "127.0.0.1"


def test_a_port_that_is_taken(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(tiny_model_folder), "--port", port]) == 2
    assert f"can't listen on --host 127.0.0.1 --port {port}" in capsys.readouterr().err


def test_a_model_that_does_not_load_ends_the_server(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "other"}')
    threads = threading.active_count()
    assert main(["serve", str(broken), "--port", "0"]) == 2
    assert "holds no mustela model" in capsys.readouterr().err
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-model"], "There is no folder 'no-such-model'"),
        (["shapes-base", "--limit", "hurry=1"], "--limit hurry=1: the limits are body_bytes="),
        (["shapes-base", "--limit", "seconds=soon"], "--limit seconds=soon: 'soon' is no number"),
        (["shapes-base", "--limit", "batch=0"], "batch is 0. It is above 0"),
        (["shapes-base", "--api_key_file", "none.txt"], "--api_key_file none.txt: can't be read"),
        (["shapes-base", "--image_folders", "nowhere"], "--image_folders nowhere: is no folder"),
        (["shapes-base", "--host", "256.1.1.1"], "can't listen on --host 256.1.1.1"),
        (["shapes-base", "--port", "99999"], "--port 99999: ports are 0"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
