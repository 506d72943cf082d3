"""The figures of the page about scale are those that `benchmarks/scaling.py` computes."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_page_has_the_figures_of_the_script(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scaling

    page = (ROOT / "docs" / "about" / "scaling.md").read_text("utf-8")
    small, large = (scaling.step_of(recipe) for recipe in scaling.MODELS.values())
    ampere, hopper = scaling.CARDS["A100"], scaling.CARDS["H100"]
    rows = [
        f"| operations a device and pass | {_short(small.operations)} | {_short(large.operations)} |",
        f"| weights that learn | {_short(small.learning)} | {large.learning / 1e9:.1f}e9 |",
        f"| A100, at least | {small.seconds(ampere):.2f} s | {large.seconds(ampere):.2f} s |",
        f"| H100, at least | {small.seconds(hopper):.2f} s | {large.seconds(hopper):.2f} s |",
        *(
            f"| {n} | {small.sharded(n) / 1e9:.1f} GB | {large.sharded(n) / 1e9:.1f} GB |"
            for n in (8, 16, 64)
        ),
        *(
            f"| {where} | {small.busy_tokens(ampere, inside=inside):,.0f} tokens"
            f" | {small.busy_tokens(hopper, inside=inside):,.0f} tokens |"
            for where, inside in (("inside a node", True), ("between nodes", False))
        ),
        f"{small.sent / hopper.between:.2f} s of sending ({_short(small.sent)} bytes",
        f"{large.sent / ampere.between:.2f} s and {large.sent / hopper.between:.2f} s of sending",
    ]
    for name, card in (("A100", ampere), ("H100", hopper)):
        fast = [step.samples / step.seconds(card) for step in (small, large)]
        rows.append(f"| samples a second and device, {name}, at most | {fast[0]:.1f} | {fast[1]:.1f} |")
    assert [row for row in rows if row not in page] == []


def _short(number: float) -> str:
    return f"{number:.2e}".replace("e+0", "e").replace("e+", "e")
