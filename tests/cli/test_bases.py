"""`mustela bases`."""

from __future__ import annotations

from mustela.cli.main import main
from mustela.model.families import FAMILIES, REFUSED


def test_every_kind_of_base_is_listed_with_what_was_tested(capsys):
    assert main(["bases"]) == 0
    told = capsys.readouterr().out
    for name in FAMILIES:
        assert f"\n{name} " in f"\n{told}"
    assert told.count("tested with:") == len(FAMILIES) + 1
    for name, reason in REFUSED.items():
        assert f"{name} " in told
        assert reason in told
