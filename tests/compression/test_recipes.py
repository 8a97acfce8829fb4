import dataclasses

import numpy as np
import pytest

from tfkd.compression import recipes
from tfkd.compression.parity import check_parity
from tfkd.compression.recipes import RECIPES
from tfkd.config.training import RECIPE_NAMES
from tfkd.errors import ConfigError


def test_the_catalog_holds_the_names_that_settings_accept():
    assert tuple(RECIPES) == RECIPE_NAMES


@pytest.mark.parametrize("name", RECIPES)
def test_entries_are_complete_and_named_after_their_key(name):
    recipe = recipes.find(name)
    assert recipe.name == name
    assert recipe.summary.endswith(".") and recipe.when_to_use.endswith(".")
    assert 0.9 < recipe.minimum_agreement < 1.0
    assert recipe.maximum_logit_difference > 0 and recipe.maximum_score_difference > 0


def test_what_is_stored_how():
    assert {
        recipe.name: (recipe.weights, recipe.tables, recipe.activations)
        for recipe in RECIPES.values()
    } == {
        "float32": ("float32", "float32", "float32"),
        "float16": ("float16", "float16", "float32"),
        "dynamic_int8": ("int8", "int8", "float32"),
        "static_int8": ("int8", "int8", "int8"),
        "int16x8": ("int8", "int8", "int16"),
        "int4_tables": ("int8", "int4", "float32"),
        "int4": ("int4", "int4", "float32"),
        "qat_int8": ("int8", "int8", "int8"),
        "qat_int4_tables": ("int8", "int4", "int8"),
    }


def test_integer_activations_need_calibration():
    assert [recipe.name for recipe in RECIPES.values() if recipe.needs_calibration] == [
        "static_int8",
        "int16x8",
    ]


def test_int4_and_fixed_ranges_need_the_edge_extra():
    assert [recipe.name for recipe in RECIPES.values() if recipe.extra == "edge"] == [
        "static_int8",
        "int16x8",
        "int4_tables",
        "int4",
        "qat_int4_tables",
    ]


def test_trained_recipes_are_held_to_the_model_that_was_trained():
    trained = [recipe for recipe in RECIPES.values() if recipe.trained]
    assert [recipe.name for recipe in trained] == ["qat_int8", "qat_int4_tables"]
    for recipe in trained:
        # What rounding costs is in that model already.
        assert recipe.minimum_agreement == 0.98
        assert not recipe.needs_calibration


def test_fewer_bits_may_differ_more():
    fewer = ["float32", "float16", "dynamic_int8", "int4_tables", "int4"]
    for many, few in zip(fewer, fewer[1:], strict=False):
        more, less = recipes.find(many), recipes.find(few)
        assert more.maximum_logit_difference < less.maximum_logit_difference
        assert more.maximum_score_difference < less.maximum_score_difference
        assert more.minimum_agreement > less.minimum_agreement


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="minimum_agreement"):
        recipes.find("float32").minimum_agreement = 0.0


def test_a_misspelled_recipe_is_answered_with_the_nearest_name():
    with pytest.raises(
        ConfigError,
        match=r"^Expected `recipe` to be one of float32, float16, dynamic_int8, static_int8, "
        r"int16x8, int4_tables, int4, qat_int8, qat_int4_tables\. Received: "
        r"recipe='dynamic_int4'\. Did you mean `dynamic_int8`\?$",
    ):
        recipes.find("dynamic_int4")


def test_a_recipe_like_no_other_is_answered_with_the_list():
    with pytest.raises(ConfigError, match=r"Known: float32, float16, .+, qat_int4_tables\.$"):
        recipes.find("zip")


def test_nearest_keys_are_judged_by_labels_and_by_the_spread_of_the_logits():
    for recipe in RECIPES.values():
        wider = recipes.with_nearest_keys(recipe)
        assert wider.minimum_agreement == recipe.minimum_agreement
        assert wider.maximum_logit_difference is None
        is_wider = recipe.name in ("float32", "float16", "dynamic_int8", "int16x8")
        assert (wider.maximum_score_difference > recipe.maximum_score_difference) == is_wider
        assert wider.maximum_score_difference <= 0.5


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_nearest_key_file_may_move_a_tenth_of_a_deviation_whatever_the_scale(scale):
    recipe = recipes.with_nearest_keys(recipes.find("float32"))
    logits = scale * np.array([[1.0, -1.0], [-1.0, 1.0]])  # of deviation 1
    for moved, passes in ((0.09, True), (0.11, False)):
        report = check_parity(logits, logits + scale * np.array([[moved, 0], [0, 0]]), recipe)
        assert report.passed == passes
        assert report.allowed_logit_difference == pytest.approx(0.1 * scale)
    # Labels are held to the recipe's own limit, however near the logits are.
    report = check_parity(np.array([[1e-9, 0.0], [0, 9]]), np.array([[0, 1e-9], [0, 9]]), recipe)
    assert (report.agreement, report.passed) == (0.5, False)
