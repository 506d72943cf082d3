"""What a run is made of: the model and the data, under the names and defaults of Ferret's scripts.

The third class, `TrainingArguments`, needs `transformers` and lives in `mustela.config.training`.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ModelArguments:
    """Which model to train and which parts of it; the first block has Ferret's names and defaults."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "language model (with --vision_tower) or ready image-text-to-text model; folder or name"
        },
    )
    version: str = field(
        default="v0",
        metadata={"help": "prompt template: v0, v1, plain, llama_3, mpt ..., auto or a Jinja file"},
    )
    freeze_backbone: bool = field(default=False, metadata={"help": "keep the language model as it is"})
    tune_mm_mlp_adapter: bool = field(
        default=False, metadata={"help": "train the projector and the region encoder only"}
    )
    vision_tower: str | None = field(
        default=None, metadata={"help": "vision encoder of the classic composition; folder or Hub name"}
    )
    mm_vision_select_layer: int = field(
        default=-1, metadata={"help": "hidden state of the vision tower that the projector reads"}
    )
    pretrain_mm_mlp_adapter: str | None = field(
        default=None,
        metadata={"help": "projector weights to start from (.safetensors, or .bin of plain tensors)"},
    )
    mm_use_im_start_end: bool = field(
        default=False, metadata={"help": "put <im_start> and <im_end> around every image"}
    )
    mm_use_im_patch_token: bool = field(
        default=True, metadata={"help": "add the token <im_patch> to the tokenizer"}
    )
    mm_vision_select_feature: Literal["patch", "cls_patch"] = field(
        default="patch",
        metadata={"help": "image tokens of the vision tower: without or with its class token"},
    )
    add_region_feature: bool = field(
        default=False, metadata={"help": "give every region of a question a feature of its own"}
    )
    region_geo_sampler: bool = field(
        default=False, metadata={"help": "make the region feature with the spatial-aware sampler"}
    )
    sampler_pooler_mode: Literal["mean", "max"] = field(
        default="mean", metadata={"help": "pooling inside the sampler"}
    )
    no_coor: bool = field(
        default=False, metadata={"help": "leave the coordinates of regions out of the questions"}
    )
    save_vision_tower: bool = field(
        default=False, metadata={"help": "write the vision tower to the run folder by itself as well"}
    )

    region_encoder: Literal["geo", "mean", "roi", "mask_embed", "none"] | None = field(
        default=None,
        metadata={
            "help": "region encoder by name; unset: what --add_region_feature and --region_geo_sampler say"
        },
    )
    sampling_geometry: Literal["aligned", "original"] = field(
        default="aligned",
        metadata={
            "help": "where regions read features: the right place, or that of Ferret's released weights"
        },
    )
    region_points: int = field(default=512, metadata={"help": "points sampled in a region"})
    region_sub_points: list[int] = field(
        default_factory=lambda: [128, 32], metadata={"help": "points that each stage of the sampler keeps"}
    )
    region_neighbors: int = field(
        default=24, metadata={"help": "neighbours that the sampler pools for a point"}
    )
    tokens_per_region: int = field(
        default=1,
        metadata={"help": "region tokens that stand for one region; a square for roi and mask_embed"},
    )
    region_tower: str | None = field(
        default=None,
        metadata={"help": "a second vision encoder that regions are read from; folder or Hub name"},
    )
    region_tower_size: int | None = field(
        default=None,
        metadata={"help": "side of the square picture that it takes; unset: what it was trained with"},
    )
    region_tower_layer: int = field(default=-1, metadata={"help": "hidden state of it that is read"})
    region_tower_join: Literal["concat", "sum", "only"] = field(
        default="concat",
        metadata={"help": "its features beside the base's, projected and added to them, or alone"},
    )
    freeze_region_tower: bool = field(default=True, metadata={"help": "keep the region tower as it is"})
    tile_tower: str | None = field(
        default=None,
        metadata={"help": "with anyres: another vision encoder for the tiles, with a projector of its own"},
    )
    mm_patch_merge_type: Literal["flat", "spatial", "spatial_unpad"] = field(
        default="flat",
        metadata={"help": "with anyres: tiles one by one, or joined with line ends, or so without margins"},
    )
    region_map: Literal["merged", "tiles", "global"] = field(
        default="merged", metadata={"help": "with anyres: what regions are read from"}
    )
    mm_projector_type: Literal["linear", "mlp2x_gelu", "mlp_downsample"] = field(
        default="linear", metadata={"help": "projector of the classic composition"}
    )
    freeze_vision_tower: bool = field(
        default=True, metadata={"help": "keep the vision tower as it is (trained from nothing: never frozen)"}
    )
    freeze_region_encoder: bool = field(default=False, metadata={"help": "keep the region encoder as it is"})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "attention back-end: sdpa, eager, flash_attention_2 ..."}
    )


@dataclass(frozen=True)
class DataArguments:
    """Which records to train on and how they are shown; the first block has Ferret's names and defaults."""

    data_path: list[str] = field(
        default_factory=list,
        metadata={"help": "record files (.json or .jsonl), one or several; with streaming, folders too"},
    )
    data_multiple: list[float] = field(
        default_factory=list,
        metadata={"help": "share of each file in an epoch: 3 = three times, 0.2 = a fifth"},
    )
    lazy_preprocess: bool = field(
        default=False, metadata={"help": "accepted; records are always prepared when they are needed"}
    )
    is_multimodal: bool = field(
        default=False, metadata={"help": "accepted; a record says itself whether it has an image"}
    )
    image_folder: list[str] = field(
        default_factory=list, metadata={"help": "image folders: one for each file, or one for all"}
    )
    image_aspect_ratio: Literal["square_nocrop", "pad", "anyres"] = field(
        default="square_nocrop",
        metadata={"help": "how an image is fitted to the vision tower; anyres: whole and in tiles"},
    )
    resized_image_h: int = field(default=336, metadata={"help": "height given to the vision tower"})
    resized_image_w: int = field(default=336, metadata={"help": "width given to the vision tower"})
    point_input_sample: str = field(
        default="segment_mask|uniform",
        metadata={
            "help": "how a box becomes a point: center, gaussian, segment_mask|center, |gaussian, |uniform"
        },
    )
    box_input: Literal["random", "box", "point"] = field(
        default="random", metadata={"help": "how boxes in questions are shown; random: drawn for every turn"}
    )
    refer_previous_point: bool = field(
        default=False,
        metadata={"help": "a box that a question mentions twice becomes the same point both times"},
    )
    image_grid_pinpoints: str | None = field(
        default=None,
        metadata={
            "help": 'with anyres: ferret-v2, ferret-ui, columns x rows "1x2, 2x1" or pixels "[(336, 672)]"'
        },
    )
    image_max_tokens: int | None = field(
        default=None, metadata={"help": "with anyres: image tokens of a picture at most"}
    )

    coordinates: (
        Literal["bins", "corners", "json", "json_yx", "unit", "pixels", "tokens", "resized"] | None
    ) = field(
        default=None,
        metadata={
            "help": "style of numbers: bins (of a new model), corners, json, json_yx, unit, pixels, tokens,"
            " resized"
        },
    )
    image_resize: Literal["pillow", "torch"] | None = field(
        default=None,
        metadata={"help": "what resizes images: pillow (of a new model), or torch, three times as fast"},
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "read records as they come, again in every epoch, instead of all before the first step; "
            "needs --max_steps"
        },
    )
    shuffle_buffer_size: int = field(
        default=1000,
        metadata={"help": "with streaming: records that are held back to be mixed; 0 mixes files only"},
    )
    data_format: str = field(
        default="auto",
        metadata={"help": "format of the files: ferret, shikra, swift ...; auto: looked up"},
    )
    box_format: Literal["xyxy", "xywh", "norm1", "norm1000"] = field(
        default="xyxy", metadata={"help": "what box numbers in the files mean"}
    )
    on_bad_record: Literal["error", "skip"] = field(
        default="error", metadata={"help": "what to do with a record that is not valid"}
    )
    on_bad_image: Literal["error", "skip"] = field(
        default="error", metadata={"help": "what to do with an image that cannot be read"}
    )
    size_policy: Literal["error", "scale"] = field(
        default="error",
        metadata={"help": "where record and file disagree on the size: stop, or scale the regions"},
    )
    check_images: Literal["none", "size", "decode"] = field(
        default="size", metadata={"help": "how closely pictures are looked at before training"}
    )
    absolute_paths: bool = field(default=False, metadata={"help": "allow absolute image paths in records"})
    symlinks: Literal["follow", "inside", "refuse"] = field(
        default="follow",
        metadata={"help": "links in the image folder: follow all, only those that stay inside, or none"},
    )
    max_image_pixels: int = field(
        default=89_478_485, metadata={"help": "refuse pictures of more pixels (width x height)"}
    )
    data_cache_dir: str | None = field(
        default=None, metadata={"help": "folder of the memory-mapped tables made from record files"}
    )
    cache_vision_features: str | None = field(
        default=None,
        metadata={
            "help": "folder to keep a frozen vision tower's features in; later epochs skip decoding and tower"
        },
    )
    cache_vision_features_gb: float = field(
        default=50.0, metadata={"help": "size of that folder at most, in GB; further pictures aren't kept"}
    )
    packing: bool = field(
        default=False,
        metadata={
            "help": "put several samples into each row of model_max_length ids; they don't see each other"
        },
    )
    separate_rounds: bool = field(
        default=False,
        metadata={
            "help": "train each round as a conversation of its own; all of a record share one encoding"
        },
    )
    coordinate_digit_weights: list[float] = field(
        default_factory=list,
        metadata={"help": "loss weights of the digits of a coordinate, e.g. 1 0.3 0.03; off when empty"},
    )
    augment_flip: float = field(default=0.0, metadata={"help": "chance to mirror an image with its regions"})
    augment_turn: float = field(
        default=0.0,
        metadata={"help": "chance of a quarter or half turn, for images without an upright position"},
    )
    augment_color: float = field(
        default=0.0, metadata={"help": "brightness, contrast and saturation change by up to this factor"}
    )
    augment_crop: float = field(
        default=0.0, metadata={"help": "chance to cut out a part of an image that shows the regions"}
    )
    augment_crop_visible: float = field(
        default=0.7, metadata={"help": "share of a region that a crop must show, or its round is left out"}
    )
    augment_scale: float = field(
        default=0.0, metadata={"help": "the sides of an image change by up to this factor"}
    )
    augment_flip_words: Literal["refuse", "swap"] = field(
        default="refuse",
        metadata={"help": "texts with directions: mirror no such record, or exchange left and right in them"},
    )

    eval_data_path: list[str] = field(
        default_factory=list,
        metadata={"help": "held-out record files, for the slice during training and the end"},
    )
    eval_image_folder: list[str] = field(
        default_factory=list,
        metadata={"help": "their image folders, one a file or one for all; unset: the training files'"},
    )
    eval_records: int = field(
        default=64,
        metadata={
            "help": "held-out records answered at each evaluation during training; with them 1 at least"
        },
    )
    eval_benchmarks: list[str] = field(
        default_factory=list,
        metadata={
            "help": "slices of benchmarks asked at each evaluation during training, such as refcoco_val:500"
        },
    )
    eval_benchmark_root: list[str] = field(
        default_factory=list, metadata={"help": "folders of their files: one for each slice, or one for all"}
    )
    eval_max_new_tokens: int = field(default=64, metadata={"help": "longest answer in evaluation, in tokens"})
    eval_pictures: int = field(
        default=4, metadata={"help": "pictures of predictions written at each evaluation"}
    )
