"""The page of the documentation that `benchmarks/data.py` writes."""

from __future__ import annotations

import textwrap
from typing import Any

from data_records import OBJECTS


def page(result: dict[str, Any], *, command: str) -> str:
    """Return the results as a page of the documentation; `command` is how they were measured."""
    first, again, steps = result["first"], result["again"], result["speeds"]
    uss, dirty = again["worker_epoch_uss_mb"], again["worker_epoch_dirty_mb"]
    noise = (
        "The machine was doing other work at the same time: its times are no figures to rely on; memory and"
        " counts are, and ratios roughly."
        if result["shared"]
        else "Nothing else ran on the machine."
    )
    about = _filled(
        f"{first['records']:,} generated records in Ferret's JSON ({result['file_mb']:,.0f} MB),"
        f" {result['pictures']:,} pictures of {' x '.join(map(str, result['size_wh']))} (each looked at"
        f" once), {result['workers']} workers, {result['points']} points a region. {result['machine']}."
        f" {noise}"
    )
    rows = "\n".join(
        f"| {step} | {each['mustela']:,.0f} | {each['reference']:,.0f} |"
        f" {each['mustela'] / each['reference']:.2g} |"
        for step, each in steps.items()
    )
    loading = "\n".join(
        f"| {workers} | {each['mustela']:,.0f} | {each['reference']:,.0f} |"
        f" {each['mustela'] / each['reference']:.2g} |"
        for workers, each in result["loading"].items()
    )
    speeds = _filled(
        f"Records of pictures with {OBJECTS} objects each, as many as COCO's have, and a round with an RLE"
        " mask for each object; records a second of processor time in one process (a worker), beside a"
        " reference written the obvious way (all records as Python objects, a dense float mask a region, a"
        " loop over turns):"
    )
    whole = 1000 / steps["everything, image_resize: torch"]["mustela"]
    decode = 1000 / steps["decode (JPEG to RGB)"]["mustela"]
    fit = 1000 / steps["fit the picture, image_resize: torch"]["mustela"]
    bound = _filled(
        f"What bounds it: of {whole:.1f} ms a record, {decode:.1f} are libjpeg's and {fit:.1f} are resizing;"
        " the rest is Python, for regions and text. Pillow's reduced decoding (draft) does not help here: it"
        " would halve the sides, below what the encoder takes."
    )
    reference = _filled(
        "Each leaves something to the training step: mustela the normalising of pictures, which are bytes"
        " until then, the reference the drawing of points from its masks. The last row has both, as the step"
        " would do them on a CPU: there, the two have come to the same. The reference checks nothing, forgets"
        " EXIF rotation and keeps all records in memory: reading one is looking up a list. Its masks have to"
        f" be sent from worker to trainer: {result['mask_mb']:.1f} MB a batch of {result['batch']}, not"
        f" {result['point_mb']:.2f} MB of points."
    )
    return f"""# Data of GRIT's size

{about}

| | measured | aim |
|---|---:|---:|
| first batch, first time (read, check and keep all records) | {first["first_batch_s"]:.0f} s | 120 s |
| the same, processor time of the main process with imports | {first["first_batch_cpu_s"]:.0f} s | |
| first batch, from then on | {again["first_batch_s"]:.1f} s | 10 s |
| the same, processor time of the main process with imports | {again["first_batch_cpu_s"]:.1f} s | |
| main process, largest memory the first time | {first["main_peak_mb"]:,.0f} MB | 1,500 MB |
| main process, largest memory from then on | {again["main_peak_mb"]:,.0f} MB | 1,500 MB |
| a worker's own memory after 20 batches of whole samples | {again["worker_samples_mb"]:.0f} MB | 150 MB |
| a worker's own memory after a tenth of an epoch | {uss[0]:.0f} MB | 150 MB |
| a worker's own memory after the whole epoch | {uss[-1]:.0f} MB | 150 MB |
| the same without pages of files | {dirty[0]:.0f} MB, then {dirty[-1]:.0f} MB | |
| records seen in the epoch | {again["epoch_seen"]:,} | {again["records"]:,} |

A worker's own memory is what the system would get back if it ended (USS), the largest of all. The epoch
reads and renders every record in random order and leaves out the pictures. Pages of the record store are
pages of a file: the system takes them back when it needs room.

{speeds}

| step | mustela | reference | mustela / reference |
|---|---:|---:|---:|
{rows}

{reference}

Through a `DataLoader`, records a second by the clock, with `image_resize: torch`:

| workers | mustela | reference | mustela / reference |
|---|---:|---:|---:|
{loading}

{bound}

To measure again: `{command}`.
"""


def _filled(text: str) -> str:
    """Return a paragraph in lines of at most 110 characters."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)
