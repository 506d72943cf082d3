"""Work on a stream of things in several processes, in order and in bounded memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # things for each process that wait for it or for their turn


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def settled() -> Iterator[None]:
    """Keep what exists from being looked through by the garbage collector, again and again, meanwhile.

    Reading millions of values makes it run often, and imported libraries are a million objects.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` things, the last shorter."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def in_processes(
    make: Callable[..., Callable[[T], R]], arguments: tuple[Any, ...], items: Iterable[T], *, workers: int
) -> Iterator[R]:
    """Yield `work(item)` of each thing, in order, where `work` is `make(*arguments)`, made once a process.

    Args:
        make: a function or class of a module.
        arguments: what it takes.
        items: taken no faster than results are.
        workers: number of processes; 1 works in this one.

    Raises:
        BrokenProcessPool: a process ended, or could not start, as where a script has no `__main__` guard.
    """
    if workers == 1:
        yield from map(make(*arguments), items)
        return
    # Processes that are forked could inherit locks of threads; those that are spawned import anew.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(make, arguments)
    ) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_work, item))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


# What a process of `in_processes` does.
_MADE: list[Callable[[Any], Any]] = []


def _start(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    _MADE.append(make(*arguments))


def _work(item: Any) -> Any:
    return _MADE[-1](item)
