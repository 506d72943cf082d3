"""A language model alone, given a prompt as embeddings, says what the whole model says.

Servers of language models that take embeddings in the place of a prompt can so be put behind a process that
encodes pictures and regions.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM

from mustela.infer import Predictor, Query, encode_pictures, render_query
from mustela.regions import Box


@pytest.mark.slow
def test_the_language_model_needs_nothing_else(predictor: Predictor, picture: Image.Image) -> None:
    model, processor = predictor.model, predictor.processor
    query = Query(picture, "What is <region>?", (Box(4, 5, 30, 40),))
    rendered = render_query(query, picture.size, options=predictor.options)
    sample = processor.encode(rendered, [picture], rng=None, generation=True)
    images = encode_pictures(model, [sample])
    ids = sample["input_ids"]
    with torch.no_grad():
        embeddings = model.get_input_embeddings()(ids)
        embeddings[ids == processor.image_token_id] = torch.cat(list(images.outputs.pooler_output))
        regions = model.encode_regions(images, sample["region_points"], sample["region_image"])
        embeddings[ids == model.config.region_token_id] = regions

    alone = AutoModelForCausalLM.from_config(model.config.get_text_config()).eval()
    alone.model.load_state_dict(model.base.model.language_model.state_dict())
    alone.lm_head.load_state_dict(model.get_output_embeddings().state_dict())
    said = alone.generate(
        inputs_embeds=embeddings[None],
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=12,
        pad_token_id=processor.pad_token_id,
        suppress_tokens=[processor.image_token_id, model.config.region_token_id],
    )
    predictor.set_image(picture)
    expected = predictor.ask(query.text, regions=query.regions, max_new_tokens=12)
    assert expected.text
    assert processor.decode(said[0]) == expected.text
