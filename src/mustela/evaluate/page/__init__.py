"""Templates, style sheet and script of the pages."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent
