"""Model cards: a README.md with what a run knows of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mustela.model.configuration import MustelaConfig

__all__ = ["CardFields", "write_card"]

_NOT_STATED = "not stated"
_FIGURES = (
    ("referring_accuracy", "referring: accuracy", "referring"),
    ("grounding_acc_50", "grounding: Acc@0.5", "grounding"),
    ("presence_accuracy", "presence: accuracy", "presence"),
    ("parse_failure_rate", "grounding: answers whose boxes can't be read", "grounding"),
)
# Settings that say where things lay on somebody's machine and not what was done.
_PLACES = ("output_dir", "cache_dir", "data_cache_dir", "run_name", "resume_from_checkpoint")


@dataclass(frozen=True)
class CardFields:
    """What a model card says that no file knows.

    Attributes:
        title: heading; None is the folder's name.
        license: of the weights, by its SPDX name in small letters, as the Hub spells it.
        base_model: name of the model that it was trained from.
        base_license: of that model.
        data_license: of the training data.
    """

    title: str | None = None
    license: str | None = None
    base_model: str | None = None
    base_license: str | None = None
    data_license: str | None = None


def write_card(
    folder: Path, *, name: str, config: MustelaConfig, template: str, run: Path, fields: CardFields, what: str
) -> None:
    """Write README.md.

    Args:
        folder: where.
        name: of the folder in the end.
        config: of the model.
        template: name of its template.
        run: folder with config.yaml, data_report.json and metrics.json, where they are.
        fields: what no file knows.
        what: what is in the folder, one sentence.
    """
    head: dict[str, Any] = {"license": fields.license or "unknown", "library_name": "mustela"}
    if fields.base_model is not None:
        head["base_model"] = fields.base_model
    head |= {"pipeline_tag": "image-text-to-text", "tags": ["region-level", "referring", "grounding"]}
    sections = [
        f"# {fields.title or name}",
        what,
        _table(("", ""), _facts(config, template)),
        "## Data\n\n" + _data(run / "data_report.json"),
        "## Metrics\n\n" + _metrics(run / "metrics.json"),
        "## Settings\n\n" + _settings(run / "config.yaml"),
        "## Licences\n\n"
        + _table(
            ("what", "licence"),
            [
                ("these weights", fields.license or _NOT_STATED),
                (fields.base_model or "the model it was trained from", fields.base_license or _NOT_STATED),
                ("the training data", fields.data_license or _NOT_STATED),
            ],
        ),
    ]
    text = f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n" + "\n\n".join(sections) + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _facts(config: MustelaConfig, template: str) -> list[tuple[str, str]]:
    base: Any = config.base_config
    encoder = config.region_encoder
    if encoder == "geo":
        encoder = f"geo, {config.sampler_pooler_mode} pooling"  # type: ignore[assignment]
    return [
        ("language model", base.get_text_config().model_type),
        ("vision tower", base.vision_config.model_type),
        ("region encoder", encoder),
        ("where regions are read", config.sampling_geometry),
        ("template", template),
        ("numbers", str(config.dtype).removeprefix("torch.")),
    ]


def _data(file: Path) -> str:
    content = _json(file)
    # One report, or one for each stage.
    reports = {"": content} if "files" in content else content
    rows = [
        (stage, Path(each["path"]).name, str(each.get("kept", "streamed")), str(each.get("skipped", "")))
        for stage, report in reports.items()
        if isinstance(report, Mapping)
        for each in report.get("train", report).get("files", [])
    ]
    if not rows:
        return "Not recorded."
    return _table(("stage", "file", "records", "left out"), rows)


def _metrics(file: Path) -> str:
    content = _json(file)
    counts = content.get("questions", {})
    rows = [
        (label, f"{100 * content[key]:.1f} %", str(counts[kind]))
        for key, label, kind in _FIGURES
        if key in content and counts.get(kind)
    ]
    return _table(("held-out questions", "score", "n"), rows) if rows else "Not measured."


def _settings(file: Path) -> str:
    if not file.is_file():
        return "Not recorded."
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    shown = {key: _without_folders(value) for key, value in content.items() if key not in _PLACES}
    return f"```yaml\n{yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)}```"


def _without_folders(value: Any) -> Any:
    """Keep the last part of absolute paths: the rest is somebody's machine."""
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items() if key not in _PLACES}
    return [_without_folders(item) for item in value] if isinstance(value, list) else value


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
