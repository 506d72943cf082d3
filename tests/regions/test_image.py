import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from mustela.errors import ImageError
from mustela.regions import Box, FirstFrameWarning, image_size, load_image


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(value):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def dotted(width=40, height=20):
    """A picture whose four corners differ."""
    image = Image.new("RGB", (width, height), (0, 0, 0))
    image.paste((255, 255, 255), (width - 8, 0, width, 8))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    image.paste((0, 0, 255), (0, height - 8, 8, height))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(orientation, kind):
    shown = dotted()
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = shown if undo is None else shown.transpose(undo)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(stored, kind, exif=with_orientation(orientation), **options)
    loaded = load_image(data)
    assert image_size(data) == loaded.size == (40, 20)
    assert np.abs(np.asarray(loaded).astype(int) - np.asarray(shown)).mean() < 3
    if kind != "TIFF":
        raw = load_image(data, exif=False)
        assert raw.size == stored.size == image_size(data, exif=False)
    assert load_image(loaded).size == loaded.size


def test_box_in_the_shown_frame_covers_its_pixel():
    stored = Image.new("RGB", (40, 20))
    stored.putpixel((39, 0), (255, 255, 255))
    loaded = load_image(encoded(stored, "PNG", exif=with_orientation(6)))
    assert loaded.size == (20, 40)
    inside = Box(19, 39, 20, 40).raster(loaded.size)
    assert np.asarray(loaded)[inside].tolist() == [[255, 255, 255]]


def test_orientation_behind_the_pixels_of_a_png_is_seen_without_decoding_others():
    data = encoded(dotted(), "PNG")
    exif = with_orientation(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    end = data.index(b"IEND") - 4
    late = data[:end] + chunk + data[end:]
    assert image_size(late) == load_image(late).size == (20, 40)
    pixels = data.index(b"IDAT") + 4
    assert image_size(data[: pixels + 4]) == (40, 20)


def test_unreadable_orientation_is_ignored():
    assert load_image(encoded(dotted(), "PNG", exif=b"Exif\0\0nonsense")).size == (40, 20)
    assert load_image(encoded(dotted(), "JPEG", exif=with_orientation(9))).size == (40, 20)


def palette_with_transparent_index():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 3), 1)
    return encoded(image, "PNG", transparency=0)


@pytest.mark.parametrize(
    ("source", "first", "last"),
    [
        (encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 255)), "PNG"), (255, 0, 0), (255, 0, 0)),
        (palette_with_transparent_index(), (255, 255, 255), (200, 100, 50)),
        (encoded(Image.new("LA", (4, 4), (50, 0)), "PNG"), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.new("RGB", (4, 4), (9, 9, 9)), "PNG", transparency=(9, 9, 9)), (255,) * 3, (255,) * 3),
        (encoded(Image.new("L", (4, 4), 9), "PNG", transparency=9), (255,) * 3, (255,) * 3),
        (encoded(Image.new("1", (4, 4), 1), "PNG"), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"), (255, 0, 0), (255, 0, 0)),
        (encoded(Image.new("I;16", (4, 4), 257 * 100), "PNG"), (100, 100, 100), (100, 100, 100)),
        (encoded(Image.new("I;16", (4, 4), 65535), "TIFF"), (255, 255, 255), (255, 255, 255)),
        (Image.new("I", (4, 4), 257 * 100), (100, 100, 100), (100, 100, 100)),
        (Image.new("I", (4, 4), 2**31 - 1), (255, 255, 255), (255, 255, 255)),
        (Image.new("I;16B", (4, 4), 257 * 3), (3, 3, 3), (3, 3, 3)),
        (Image.new("F", (4, 4), 0.5), (128, 128, 128), (128, 128, 128)),
        (Image.new("F", (4, 4), 200.0), (200, 200, 200), (200, 200, 200)),
        (Image.new("F", (4, 4), float("nan")), (0, 0, 0), (0, 0, 0)),
        (Image.new("YCbCr", (4, 4), (255, 128, 128)), (255, 255, 255), (255, 255, 255)),
        (Image.new("HSV", (4, 4), (0, 255, 255)), (255, 0, 0), (255, 0, 0)),
        (Image.new("LAB", (4, 4), (255, 128, 128)), (255, 255, 255), (255, 255, 255)),
        (Image.new("RGBX", (4, 4), (1, 2, 3, 4)), (1, 2, 3), (1, 2, 3)),
        (Image.new("RGBa", (4, 4), (0, 0, 0, 0)), (255, 255, 255), (255, 255, 255)),
        (Image.new("La", (4, 4), (0, 0)), (255, 255, 255), (255, 255, 255)),
        (Image.new("PA", (4, 4), (0, 0)), (255, 255, 255), (255, 255, 255)),
    ],
)
def test_every_mode_becomes_the_colours_it_means(source, first, last):
    loaded = load_image(source)
    assert loaded.mode == "RGB"
    for place, colour in (((0, 0), first), ((3, 3), last)):
        assert np.abs(np.subtract(loaded.getpixel(place), colour)).max() <= 3


def test_background_is_a_setting():
    transparent = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert load_image(transparent, background=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_is_used_with_a_warning(kind):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.warns(FirstFrameWarning, match="first of several frames"):
        loaded = load_image(data)
    assert np.abs(np.subtract(loaded.getpixel((0, 0)), (255, 0, 0))).max() <= 3
    still = encoded(frames[0], kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_image(still)


def test_the_given_image_is_not_changed():
    image = Image.new("RGBA", (2, 3), (255, 0, 0, 0))
    loaded = load_image(image)
    loaded.putpixel((0, 0), (0, 0, 0))
    assert image.mode == "RGBA"
    rgb = Image.new("RGB", (2, 3))
    load_image(rgb).putpixel((0, 0), (9, 9, 9))
    assert rgb.getpixel((0, 0)) == (0, 0, 0)


@pytest.fixture
def broken(tmp_path):
    whole = encoded(Image.effect_noise((80, 60), 50).convert("RGB"), "JPEG")
    files = {
        "half.jpg": whole[: len(whole) // 2],
        "page.jpg": b"\n<html>404</html>",
        "empty.jpg": b"",
        "text.png": b"hello there",
        "header.png": encoded(dotted(), "PNG")[:20],
        "half.gif": encoded(dotted(), "GIF")[:60],
        "half.png": encoded(Image.effect_noise((80, 60), 50), "PNG")[:2000],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("half.jpg", "truncated"),
        ("page.jpg", "web page"),
        ("empty.jpg", r"empty \(0 bytes\)"),
        ("text.png", "not an image.*hello there"),
        ("header.png", "image"),
        ("half.gif", "damaged"),
        ("half.png", "damaged"),
        ("absent.jpg", "not found"),
        ("folder.jpg", "folder"),
    ],
)
def test_broken_files_are_named_with_the_reason(broken, name, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(broken / name)
    assert str(caught.value).startswith(str(broken / name))
    if name.startswith("half") and name != "half.gif":
        assert image_size(broken / name) == (80, 60)
    elif not name.startswith("half"):
        with pytest.raises(ImageError, match=name):
            image_size(broken / name)


def test_no_damage_escapes_as_another_error():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM", "TGA", "JPEG2000"):
        data = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), kind)
        for _ in range(25):
            spoiled = bytearray(data)
            for place in rng.integers(0, min(len(data), 300), 4):
                spoiled[place] = rng.integers(0, 256)
            spoiled = bytes(spoiled[: rng.integers(1, len(data))])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert load_image(spoiled, name="spoiled").mode == "RGB"
                except ImageError as error:
                    assert "spoiled" in str(error)  # noqa: PT017  (either outcome is right)


def test_size_limit_is_a_setting_and_named():
    def header(width, height):
        size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        head = struct.pack(">I", 13) + b"IHDR" + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
        return (
            b"\x89PNG\r\n\x1a\n"
            + head
            + struct.pack(">I", 0)
            + b"IDAT"
            + struct.pack(">I", zlib.crc32(b"IDAT"))
        )

    bomb = header(20_000, 10_000)
    for call in (load_image, image_size):
        with pytest.raises(ImageError, match="max_pixels"):
            call(bomb)
    assert image_size(bomb, max_pixels=10**9) == (20_000, 10_000)
    assert Image.MAX_IMAGE_PIXELS is not None
    with pytest.raises(
        ImageError, match=r"20000 x 10000 = 200000000 pixels are more than max_pixels = 199999999"
    ):
        image_size(bomb, max_pixels=199_999_999)
    with pytest.raises(ImageError, match="max_pixels = 5"):
        load_image(Image.new("RGB", (2, 3)), max_pixels=5)
