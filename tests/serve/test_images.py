"""Pictures of requests and their cache."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tests.serve.running import data_url, picture

from mustela.infer import Predictor
from mustela.serve.errors import ApiError
from mustela.serve.fetching import Fetcher
from mustela.serve.images import Picture, PictureCache, read_picture
from mustela.serve.limits import Limits


def read(tiny: Predictor, url: str, cache: PictureCache, *, as_mask: bool = False) -> Picture:
    return read_picture(
        url, processor=tiny.processor, cache=cache, fetcher=Fetcher(), limits=Limits(), as_mask=as_mask
    )


def test_the_cache_keeps_what_was_wanted_last(tiny: Predictor) -> None:
    cache = PictureCache(2, 2**30)
    urls = [data_url(picture(seed)) for seed in range(3)]
    first, second = (read(tiny, url, cache) for url in urls[:2])
    assert read(tiny, urls[0], cache) is first
    read(tiny, urls[2], cache)
    assert len(cache) == 2
    assert read(tiny, urls[0], cache) is first
    assert read(tiny, urls[1], cache) is not second


def test_the_cache_is_bounded_in_bytes(tiny: Predictor) -> None:
    one = read(tiny, data_url(picture()), PictureCache(9, 2**30)).nbytes
    cache = PictureCache(100, 3 * one)
    for seed in range(6):
        read(tiny, data_url(picture(seed)), cache)
        assert cache.nbytes <= 3 * one
    assert len(cache) == 3


def test_threads_that_read_one_picture_get_one(tiny: Predictor) -> None:
    cache = PictureCache(9, 2**30)
    with ThreadPoolExecutor(6) as pool:
        pictures = list(pool.map(lambda _: read(tiny, data_url(picture()), cache), range(6)))
    assert len({id(each) for each in pictures}) == 1


def test_pictures_are_upright_and_alpha_is_read_on_demand(tiny: Predictor) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture(0, (64, 48)).save(buffer, "jpeg", exif=exif)
    assert read(tiny, data_url(buffer.getvalue()), PictureCache(9, 2**30)).size_wh == (48, 64)
    image = picture()
    image.putalpha(Image.fromarray(np.where(np.arange(48 * 64).reshape(48, 64) % 2, 255, 0).astype(np.uint8)))
    cache = PictureCache(9, 2**30)
    with_mask = read(tiny, data_url(image), cache, as_mask=True)
    assert with_mask.alpha is not None
    assert with_mask.alpha.mean() == 0.5
    # White under transparent pixels otherwise, as everywhere else.
    assert read(tiny, data_url(image), cache).alpha is None


def test_an_animation_gives_its_first_frame_quietly(tiny: Predictor) -> None:
    buffer = io.BytesIO()
    picture(0).save(buffer, "gif", save_all=True, append_images=[picture(1)])
    assert read(tiny, data_url(buffer.getvalue()), PictureCache(9, 2**30)).size_wh == (64, 48)


@pytest.mark.parametrize("url", ["data:image/png,abc", "data:;base64", "data:image/png;base64,a"])
def test_a_malformed_data_url(tiny: Predictor, url: str) -> None:
    with pytest.raises(ApiError, match="data URL"):
        read(tiny, url, PictureCache(9, 2**30))
