"""A command run by several processes of this machine, which torch's own launcher starts."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from mustela.errors import ConfigError

__all__ = ["run_processes", "take_processes"]

_FLAG = "--num_processes"
# How long processes that were asked to stop may take to leave a checkpoint.
_SHUTDOWN_SECONDS = 1800


def take_processes(words: Sequence[str]) -> tuple[int, list[str]]:
    """Take `--num_processes N` out of a command line; without it, N is 1.

    Raises ConfigError when N is no number from 1, or torchrun has started the processes already.
    """
    count, rest, at = 1, [], 0
    while at < len(words):
        name, given, value = words[at].partition("=")
        at += 1
        if name.replace("-", "_") != _FLAG.replace("-", "_"):
            rest.append(words[at - 1])
            continue
        if not given:
            value = words[at] if at < len(words) else ""
            at += 1
        if not value.isdigit() or int(value) < 1:
            raise ConfigError(f"{_FLAG} is the number of processes to start on this machine, not {value!r}.")
        count = int(value)
    if count > 1 and "WORLD_SIZE" in os.environ:
        raise ConfigError(
            f"{_FLAG} {count}: torchrun or accelerate launch has started the processes; leave it out."
        )
    return count, rest


def run_processes(count: int, words: Sequence[str]) -> int:
    """Run `mustela WORDS` in several processes that know of each other, until all are done.

    SIGTERM and SIGINT are handed on to them; when one fails, the others are ended.

    Returns:
        0, or the status of the first process that failed, or 128 and the number of the signal.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What the processes say is enough.
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    cores = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(cores // count, 1)))
    # Hints about speed from torch's inside, once a process.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "mustela", *words)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if status > 0 else 128 - status
    except SignalException as error:
        return 128 + int(signal.Signals(error.sigval))
    return 0
