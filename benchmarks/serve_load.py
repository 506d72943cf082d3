"""A server under load, against the same server asked one by one (Linux).

    python benchmarks/serve_load.py --seconds 60

Fifty clients ask at once; one in ten of them hangs up or sends garbage. Nothing may go wrong for the others:
no error, and every answer is the one that the question gets alone. The memory of the server must not grow.
Prediction: a step of generation costs about the same for one answer as for a batch of small ones, so that
throughput grows several times; at least three times is asked for.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mustela

EXAMPLES = Path(mustela.__file__).parent / "serve" / "page" / "examples"
RESULT = Path(__file__).parent / "results" / "serve_load.json"
WORDS = ("What is <region>?", "Is <region> red?", "Where is the star?", "Find and name all the objects.")
MAX_TOKENS = 64


def questions() -> list[dict[str, Any]]:
    """Requests about the page's example pictures, with regions in some of them."""
    draw = random.Random(0)
    bodies = []
    for file in sorted(EXAMPLES.glob("*.jpg")):
        url = "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode()
        for words in WORDS:
            x, y = draw.randint(0, 60), draw.randint(0, 60)
            box = {"type": "box", "xyxy": [x, y, x + draw.randint(20, 60), y + draw.randint(20, 60)]}
            content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": words}]
            bodies.append(
                {
                    "messages": [{"role": "user", "content": content}],
                    "regions": [box] if "<region>" in words else [],
                    "max_tokens": MAX_TOKENS,
                }
            )
    return bodies


@dataclass
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    model: str

    def ask(self, body: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        """What it has worked, whatever else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0


@contextmanager
def serving(model: str) -> Any:
    command = [sys.executable, "-u", "-m", "mustela", "serve", model, "--port", "0", "--device", "cpu"]
    process = subprocess.Popen([*command, "--name", "model"], stdout=subprocess.PIPE, text=True)
    try:
        port = 0
        for line in process.stdout:
            found = re.search(r"ready: http://[^:]+:(\d+)", line)
            if found:
                port = int(found[1])
                break
        yield Server(process, port, model)
    finally:
        process.terminate()
        process.wait()


@dataclass
class Counts:
    """What the clients met with."""

    answers: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    disturbances: int = 0
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def said(answer: Any) -> Any:
    return [choice["message"] for choice in answer["choices"]], answer["usage"]


def good_client(
    server: Server, bodies: list[bytes], known: list[Any], until: float, counts: Counts, seed: int
) -> None:
    draw = random.Random(seed)
    while time.monotonic() < until:
        number = draw.randrange(len(bodies))
        start = time.monotonic()
        try:
            status, answer = server.ask(bodies[number])
        except OSError as error:
            with counts.lock:
                counts.errors.append(repr(error))
            continue
        with counts.lock:
            counts.seconds.append(time.monotonic() - start)
            if status != 200:
                counts.errors.append(f"{status}: {answer}")
            elif said(answer) != known[number]:
                counts.wrong += 1
            else:
                counts.answers += 1


def bad_client(server: Server, bodies: list[bytes], until: float, counts: Counts, seed: int) -> None:
    """Hangs up while its answer is made or while it sends, and sends what is no request."""
    draw = random.Random(seed)
    while time.monotonic() < until:
        body = draw.choice(bodies)
        kind = draw.randrange(4)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            if kind == 0:
                connection.request("POST", "/v1/chat/completions", body, headers)
                time.sleep(draw.random() * 0.2)
            elif kind == 1:
                headers["Content-Length"] = str(len(body))
                connection.request("POST", "/v1/chat/completions", body[: len(body) // 2], headers)
            elif kind == 2:
                connection.request("POST", "/v1/chat/completions", draw.randbytes(2000), headers)
                connection.getresponse().read()
            else:
                connection.connect()
                connection.sock.sendall(draw.randbytes(500))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        with counts.lock:
            counts.disturbances += 1
            pause = counts.seconds[-1] if counts.seconds else 0.5
        # Not more often than the others ask.
        time.sleep(min(pause, max(0.0, until - time.monotonic())))


def measure(model: str, *, clients: int, seconds: float) -> dict[str, Any]:
    with serving(model) as server:
        bodies = [json.dumps({"model": "model", **body}).encode() for body in questions()]
        known = [said(server.ask(body)[1]) for body in bodies]

        alone, start, worked = Counts(), time.monotonic(), server.cpu_seconds()
        good_client(server, bodies, known, start + seconds / 3, alone, 0)
        one_by_one = alone.answers / (time.monotonic() - start)
        one_by_one_cpu = alone.answers / (server.cpu_seconds() - worked)

        counts, memory = Counts(), []
        start, worked = time.monotonic(), server.cpu_seconds()
        until = start + seconds
        threads = [
            threading.Thread(
                target=bad_client if number % 10 == 9 else good_client,
                args=(server, bodies, until, counts, number)
                if number % 10 == 9
                else (server, bodies, known, until, counts, number),
            )
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(min(1.0, seconds / 10))
            memory.append(server.resident_mb())
        for thread in threads:
            thread.join()
        together = counts.answers / (time.monotonic() - start)
        together_cpu = counts.answers / (server.cpu_seconds() - worked)
    third = max(1, len(memory) // 3)
    ordered = sorted(counts.seconds)
    return {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "model": model,
        "clients": clients,
        "seconds": seconds,
        "one_by_one_per_second": round(one_by_one, 2),
        "together_per_second": round(together, 2),
        "times": round(together / one_by_one, 2),
        "one_by_one_per_cpu_second": round(one_by_one_cpu, 2),
        "together_per_cpu_second": round(together_cpu, 2),
        "times_per_cpu_second": round(together_cpu / one_by_one_cpu, 2),
        "answers": counts.answers,
        "errors": len(counts.errors) + len(alone.errors),
        "first_error": (counts.errors or alone.errors or [None])[0],
        "wrong_answers": counts.wrong + alone.wrong,
        "disturbances": counts.disturbances,
        "median_seconds": round(statistics.median(ordered), 3),
        "p95_seconds": round(ordered[int(len(ordered) * 0.95)], 3),
        # Of the middle third and the last one: the first is warming up.
        "memory_mb": [
            round(statistics.mean(memory[third : 2 * third])),
            round(statistics.mean(memory[-third:])),
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="shapes-base", help="folder or name of a model")
    parser.add_argument("--clients", type=int, default=50, help="how many ask at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures go")
    args = parser.parse_args()
    figures = measure(args.model, clients=args.clients, seconds=args.seconds)
    args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
