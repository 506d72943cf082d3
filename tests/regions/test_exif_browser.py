"""The EXIF rotation, beside a browser's: an independent reader of the same files."""

from __future__ import annotations

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import sync_playwright

from mustela.regions import image_size, load_image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_SCRIPT = """
async (address) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return { size: [canvas.width, canvas.height], pixels: [...pixels].filter((_, place) => place % 4 < 3) };
}
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_every_orientation_is_shown_as_a_browser_shows_it() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    stored = Image.fromarray(coarse).resize((40, 24), Image.Resampling.NEAREST)
    files = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        file = io.BytesIO()
        stored.save(file, "JPEG", quality=100, subsampling=0, exif=exif)
        files.append(file.getvalue())
    addresses = ["data:image/jpeg;base64," + base64.b64encode(file).decode() for file in files]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        shown = [page.evaluate(_SCRIPT, address) for address in addresses]
        browser.close()
    assert len({tuple(each["pixels"]) for each in shown}) == 8
    for file, each in zip(files, shown, strict=True):
        width, height = each["size"]
        assert load_image(file).size == image_size(file) == (width, height)
        pixels = np.array(each["pixels"]).reshape(height, width, 3)
        # JPEG decoders may differ by a rounding or two.
        assert np.abs(pixels - np.asarray(load_image(file), dtype=int)).max() <= 3
