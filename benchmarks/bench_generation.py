"""Generation: batched and cached against one by one, and the time to the first token.

    python benchmarks/bench_generation.py

The packaged model `shapes-base` answers 8 questions about one picture with exactly 24 tokens each: one by
one with the picture encoded for every question, one by one behind `set_image`, which encodes it once, in
one batch, and without a cache of keys and values. The time to the first token is that of an answer of one
token.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from measuring import RUNS, machine, take_turns, write
from PIL import Image, ImageDraw

from mustela import Predictor
from mustela.infer.query import Query
from mustela.regions import Box

NEW_TOKENS = 24
BOXES = [Box(10 + 9 * n, 8 + 7 * n, 60 + 9 * n, 50 + 7 * n) for n in range(8)]


def picture() -> Image.Image:
    """Draw some shapes."""
    made = Image.new("RGB", (200, 160), "white")
    draw = ImageDraw.Draw(made)
    for number, color in enumerate(("red", "green", "blue")):
        draw.ellipse((20 + 50 * number, 30, 60 + 50 * number, 80), fill=color)
    return made


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    where = machine(arguments.threads)
    predictor = Predictor.from_pretrained("shapes-base", device="cpu")
    image = picture()
    queries = [Query(image, "What is <region>?", (box,)) for box in BOXES]

    def fixed(tokens: int, **more: Any) -> dict[str, Any]:
        # Answers of one length, so that all sides make the same number of tokens.
        return {"max_new_tokens": tokens, "min_new_tokens": tokens, **more}

    def once(tokens: int, **more: Any) -> Callable[[], list[str]]:
        def ask() -> list[str]:
            predictor.set_image(image)
            return [
                predictor.ask(query.text, regions=query.regions, **fixed(tokens, **more)).text
                for query in queries
            ]

        return ask

    def many(size: int, tokens: int) -> Callable[[], list[str]]:
        return lambda: [
            answer.text for answer in predictor.ask_many(queries, batch_size=size, **fixed(tokens))
        ]

    sides = {
        "one by one, picture each time": many(1, NEW_TOKENS),
        "one by one, picture once": once(NEW_TOKENS),
        "one by one, picture once, no cache": once(NEW_TOKENS, use_cache=False),
        "one batch": many(8, NEW_TOKENS),
        "first token, picture each time": many(1, 1),
        "first token, picture once": once(1),
    }
    said = {name: side() for name, side in sides.items() if "first" not in name}
    times = take_turns(sides, runs=arguments.runs, warm_up=0)
    plain = times["one by one, picture each time"].cpu_s
    rows = []
    for name, taken in times.items():
        tokens = 1 if "first" in name else NEW_TOKENS
        row = {"side": name, "cpu_s": taken.cpu_s, "wall_s": taken.wall_s, "runs": taken.runs}
        if tokens > 1:
            row |= {
                "tokens_per_cpu_s": tokens * len(queries) / taken.cpu_s,
                "times_faster_cpu": plain / taken.cpu_s,
            }
        else:
            row |= {"first_token_cpu_ms": 1000 * taken.cpu_s / len(queries)}
        rows.append(row)
    same = len({tuple(answers) for answers in said.values()}) == 1
    notes = [f"Answers of all sides are {'the same' if same else 'NOT the same'}."]
    write("generation", "Generation", machine=where, rows=rows, notes=notes)


if __name__ == "__main__":
    main()
