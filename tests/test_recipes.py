import dataclasses

import pytest

from tfkd.compression import recipes
from tfkd.config import RECIPE_NAMES
from tfkd.errors import ConfigError


def test_the_catalog_holds_the_names_that_settings_accept():
    assert tuple(recipes.RECIPES) == RECIPE_NAMES


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_entries_are_complete_and_named_after_their_key(name):
    recipe = recipes.find(name)
    assert recipe.name == name
    assert recipe.summary.endswith(".") and recipe.when_to_use.endswith(".")
    assert 0.9 < recipe.minimum_agreement < 1.0
    assert recipe.maximum_logit_difference > 0 and recipe.maximum_score_difference > 0


def test_only_the_int8_recipe_quantizes_and_it_may_differ_more():
    float32, int8 = recipes.find("float32"), recipes.find("dynamic_int8")
    assert (float32.quantizes_weights, int8.quantizes_weights) == (False, True)
    assert float32.maximum_logit_difference < int8.maximum_logit_difference
    assert float32.minimum_agreement > int8.minimum_agreement


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="minimum_agreement"):
        recipes.find("float32").minimum_agreement = 0.0


def test_a_misspelled_recipe_is_answered_with_the_nearest_name():
    with pytest.raises(
        ConfigError,
        match=r"^Expected `recipe` to be one of float32, dynamic_int8\. Received: "
        r"recipe='dynamic_int4'\. Did you mean `dynamic_int8`\?$",
    ):
        recipes.find("dynamic_int4")


def test_a_recipe_like_no_other_is_answered_with_the_list():
    with pytest.raises(ConfigError, match=r"Known: float32, dynamic_int8\.$"):
        recipes.find("zip")
