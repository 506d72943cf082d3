"""Recipes: precedence, stages, presets, mistakes."""

from pathlib import Path

import pytest

from mustela.config import preset_names, read_recipe, resolve
from mustela.config.training import all_fields, build_arguments
from mustela.errors import ConfigError

FIELDS = all_fields()
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(tmp_path):
    def write(text: str, name: str = "recipe.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_yaml_sets_defaults_and_flags_win(recipe):
    path = recipe("learning_rate: 2e-5\nseed: 7\ndata_path: [a, b]\neval_strategy: no\nbf16: false\n")
    (stage,) = resolve([path, "--learning_rate", "1e-3", "--bf16"], FIELDS).stages
    assert stage.values["learning_rate"] == 1e-3
    assert stage.values["bf16"] is True
    assert (stage.values["seed"], stage.values["data_path"]) == (7, ["a", "b"])
    # YAML reads an unquoted `no` as false; the setting is a word.
    assert stage.values["eval_strategy"] == "no"
    assert stage.values["output_dir"].replace("\\", "/") == "runs/recipe"


def test_a_single_path_may_stand_without_a_list(recipe):
    (stage,) = resolve([recipe("data_path: train.json\n")], FIELDS).stages
    assert stage.values["data_path"] == ["train.json"]


def test_old_names_work_in_yaml(recipe):
    settings = resolve([recipe("evaluation_strategy: steps\nwarmup_ratio: 0.03\n")], FIELDS)
    assert settings.stages[0].values["eval_strategy"] == "steps"
    assert len(settings.notes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rte: 1\n", "learning_rte is not a known setting. Did you mean 'learning_rate'?"),
        ("learning_rate: 1\nlearning_rate: 2\n", "line 2: 'learning_rate' stands twice"),
        ("- a\n- b\n", "a recipe is a YAML mapping"),
        ("learning_rate: [1\n", "while parsing"),
        ("stages: 3\n", "stages is a list"),
        ("stages:\n- {name: a, output_dir: x}\n", "cannot have an output_dir"),
        ("stages:\n- {name: a}\n- {name: a}\n", "same name"),
        (
            "stages:\n- {name: a, max_stps: 3}\n",
            "stage a: max_stps is not a known setting. Did you mean 'max_steps'?",
        ),
        ("from_scratch: 3\n", "from_scratch is a mapping"),
        ("extends: nowhere.yaml\n", "neither a recipe file nor a preset 'nowhere.yaml'"),
        ("extends: recipe.yaml\n", "neither"),
    ],
)
def test_mistakes_name_file_and_remedy(recipe, text, message):
    with pytest.raises(ConfigError) as caught:
        resolve([recipe(text, "other.yaml")], FIELDS)
    assert message in str(caught.value)


def test_stages_inherit_and_flags_win_everywhere(recipe):
    path = recipe(
        "learning_rate: 1e-3\nfrom_scratch: {language_model: {hidden_size: 8}}\n"
        "stages:\n- {name: refer, max_steps: 5, data_path: a}\n"
        "- {name: all, learning_rate: 5e-4, data_path: b}\n"
    )
    settings = resolve(
        [
            path,
            "--seed",
            "3",
            "--stages.refer.max_steps",
            "9",
            "--from_scratch.language_model.hidden_size",
            "16",
        ],
        FIELDS,
    )
    assert [stage.name for stage in settings.stages] == ["refer", "all"]
    refer, rest = (dict(stage.values) for stage in settings.stages)
    assert (refer["learning_rate"], rest["learning_rate"]) == (1e-3, 5e-4)
    assert (refer["max_steps"], refer["seed"], rest["seed"], rest["data_path"]) == (9, 3, 3, ["b"])
    assert settings.from_scratch == {"language_model": {"hidden_size": 16}}
    first, second = build_arguments(settings)
    assert first.training.max_steps == 9
    assert first.training.output_dir == second.training.output_dir
    assert first.model.freeze_vision_tower is False


def test_extends_puts_another_recipe_underneath(recipe):
    recipe("learning_rate: 1\nseed: 1\n", "base.yaml")
    path = recipe("extends: base.yaml\nseed: 2\n")
    assert read_recipe(path) == {"learning_rate": 1, "seed": 2}


def test_an_unknown_preset_names_the_nearest():
    if "shapes-tiny" in preset_names():
        with pytest.raises(ConfigError, match="Did you mean 'shapes-tiny'"):
            read_recipe("shapes-tni")


@pytest.mark.parametrize("name", [*preset_names(), *(str(path) for path in sorted(RECIPES.glob("*.yaml")))])
def test_presets_and_recipes_parse(name):
    settings = resolve([name, "--use_cpu"], FIELDS)
    assert not settings.notes
    assert build_arguments(settings)
