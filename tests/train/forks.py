"""Run as a program: runs `mustela` in children of one process that has imported all, as jobs on stdin say.

Children start in no time, may be several ranks of one run, and may be killed. A job is one line of JSON:

    words        the command line behind `mustela`
    log          file that takes what the children print
    processes    how many ranks; they talk through gloo
    environment  variables to set
    samples      file that gets one line for every batch of a training: step, number in the step, hash
    die_at       number of the access to a file under `folder` at which the child kills itself
    die_after    [batches, seconds]: killed so long after so many batches
    signal       [batches, number, ranks]: a signal to some ranks after so many batches

The answer is the list of the children's statuses, as `os.waitstatus_to_exitcode` gives them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SECONDS = 280


def serve() -> None:
    import torch

    import mustela.cli.train_evaluation
    import mustela.train
    import mustela.train.trainer  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


def work(job: dict[str, Any]) -> list[int]:
    count = job.get("processes", 1)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    before = lines(job)
    children = [start(job, rank, count, port) for rank in range(count)]
    statuses: dict[int, int] = {}
    planned = job.get("die_after") or job.get("signal")
    deadline = time.monotonic() + SECONDS
    while len(statuses) < count:
        for child in children:
            if child not in statuses:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    statuses[child] = os.waitstatus_to_exitcode(status)
        if planned and lines(job) - before >= planned[0] * count:
            if job.get("die_after"):
                time.sleep(planned[1])
            number = signal.SIGKILL if job.get("die_after") else planned[1]
            for rank in planned[2] if job.get("signal") else range(count):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(children[rank], number)
            planned = None
        if time.monotonic() > deadline or any(status < 0 for status in statuses.values()):
            # Workers of a killed child, and ranks that wait for one.
            kill(children)
        time.sleep(0.005)
    kill(children)
    return [statuses[child] for child in children]


def lines(job: dict[str, Any]) -> int:
    path = Path(job.get("samples") or "")
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def kill(groups: list[int]) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def start(job: dict[str, Any], rank: int, count: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        if count > 1:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        os.environ |= job.get("environment", {})
        if "DS_ACCELERATOR" in os.environ:
            # Else it would compile what processes of one machine talk through.
            import deepspeed

            deepspeed.ops.__compatible_ops__ = {}
        if job.get("samples"):
            note_batches(job["samples"], rank)
        if job.get("die_at"):
            die_at(job["die_at"], job["folder"])
        from mustela.cli.main import main

        status = main(job["words"])
    except BaseException:  # noqa: BLE001 (nothing may get out of the child)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def note_batches(path: str, rank: int) -> None:
    """Write a line for every batch that a training uses."""
    from mustela.train.trainer import MustelaTrainer

    whole = MustelaTrainer.training_step
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    last = [-1, 0]

    def step(trainer: Any, model: Any, inputs: dict[str, Any], *args: Any) -> Any:
        now = trainer.state.global_step
        last[:] = [now, last[1] + 1 if last[0] == now else 0]
        hashed = hashlib.sha256()
        for name in sorted(inputs):
            hashed.update(name.encode() + inputs[name].cpu().numpy().tobytes())
        entry = [*last, rank, inputs["record"].tolist(), hashed.hexdigest()]
        os.write(file, json.dumps(entry).encode() + b"\n")
        return whole(trainer, model, inputs, *args)

    MustelaTrainer.training_step = step


def die_at(number: int, folder: str) -> None:
    """Kill this process at the so-manieth access to a file of a folder."""
    seen = 0
    process = os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if (
            event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
            and isinstance(arguments[0], str | os.PathLike)
            and os.fspath(arguments[0]).startswith(folder)
            and os.getpid() == process
        ):
            seen += 1
            if seen == number:
                os.kill(process, signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
