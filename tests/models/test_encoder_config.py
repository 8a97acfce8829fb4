"""What a config.json may say, and the one line for what it may not."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.hugging_face import (
    POSITIONS,
    WIDE,
    WIDTH,
    WORDS,
    config_of,
    encoder_alone,
    random_tensors,
    write_encoder,
    write_folder,
)
from tfkd.errors import ModelError
from tfkd.models.checkpoints import resolve
from tfkd.models.encoder_config import EncoderConfig


def refusal(folder):
    """The one line, with the folder's path left out."""
    with pytest.raises(ModelError, match="^Expected ") as caught:
        resolve(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "").replace(str(folder), "the folder")


def changed(tmp_path, family="bert", **settings):
    return refusal(write_folder(tmp_path / "folder", family, **settings))


@pytest.mark.parametrize(
    "family, expected",
    [
        ("bert", {"num_types": 2}),
        ("distilbert", {}),
        ("roberta", {"num_types": 1, "epsilon": 1e-5, "first_position": 2}),
    ],
)
def test_settings_by_the_names_of_each_family(family, expected, tmp_path):
    received = EncoderConfig.read(tmp_path, config_of(family))
    sizes = EncoderConfig(family, len(WORDS), 2, 2, WIDTH, WIDE, POSITIONS)
    assert received == dataclasses.replace(sizes, **expected)
    assert received.longest == (32 if family == "roberta" else 34)


def test_defaults_are_those_of_transformers(tmp_path):
    bert = EncoderConfig("bert", 30522, 12, 12, 768, 3072, 512, 2)
    assert EncoderConfig.read(tmp_path, {"model_type": "bert"}) == bert
    distilbert = EncoderConfig("distilbert", 30522, 6, 12, 768, 3072, 512)
    assert EncoderConfig.read(tmp_path, {"model_type": "distilbert"}) == distilbert


@pytest.mark.parametrize(
    "settings",
    [
        {"transformers_version": "5.0.0", "_name_or_path": "bert-base", "dtype": "float16"},
        {"torch_dtype": "bfloat16", "use_cache": True, "pad_token_id": 0, "is_decoder": False},
        {"position_embedding_type": "absolute", "pruned_heads": {}, "quantization_config": None},
        {"chunk_size_feed_forward": 64, "tie_word_embeddings": False, "classifier_dropout": 0.3},
        {"pooler_num_attention_heads": 12, "pooler_size_per_head": 128, "directionality": "bidi"},
        {"attention_probs_dropout_prob": 0.3, "output_attentions": True, "num_beam_groups": 1},
        {"use_rms_norm": False, "rope_scaling": None, "pool_layers": []},
        {"my_note": "fine-tuned on Monday", "training_steps": 300, "metrics": {"f1": 0.9}},
    ],
)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_settings_that_change_no_number_are_fine(family, settings, tmp_path):
    assert resolve(str(write_folder(tmp_path / "folder", family, **settings))).is_ready


@pytest.mark.parametrize(
    "key, value, ours",
    [
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("is_decoder", True, "False"),
        ("add_cross_attention", True, "False"),
        ("pruned_heads", {"1": [0]}, "nothing"),
        ("quantization_config", {"bits": 8}, "nothing"),
        ("adapters", {"adapters": {"a": "b"}}, "nothing"),
        ("auto_map", {"AutoModel": "modeling.My"}, "nothing"),
        ("is_decoder", 1, "False"),
        (
            "sbert_ce_default_activation_function",
            "torch.nn.modules.activation.Sigmoid",
            "'torch.nn.modules.linear.Identity'",
        ),
    ],
)
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_settings_of_another_arithmetic_are_refused_by_name(family, key, value, ours, tmp_path):
    assert changed(tmp_path, family, **{key: value}) == (
        f"Expected {key} of {ours} in config.json. Received: {value!r}, which tfkd does not "
        "compute. Give another model."
    )


@pytest.mark.parametrize(
    "key, value",
    [("use_rms_norm", True), ("attention_scale", 2.0), ("rope_theta", 10000), ("ffn_gate", "a")],
)
def test_unknown_settings_that_sound_like_arithmetic_are_refused(key, value, tmp_path):
    assert changed(tmp_path, **{key: value}) == (
        f"Expected settings in config.json that tfkd knows. Received: {key}={value!r}, which "
        "sounds as if it changed the numbers. Take it out of the file if it does not, or give "
        "another model."
    )


@pytest.mark.parametrize("value", [10**9, -8, 0, 8.0, "8", True, None, [8], 10**400])
@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_sizes_without_sense_are_refused(key, value, tmp_path):
    folder = write_folder(tmp_path / "folder", "bert")
    config = {**config_of("bert"), key: value}
    with pytest.raises(ModelError, match="^Expected ") as caught:
        EncoderConfig.read(folder, config)
    shown = repr(value) if value != 10**400 else f"1{'0' * 76}..."
    assert str(caught.value) == (
        f"Expected {key} in {folder}/config.json to be a whole number from 1 to 10,000,000. "
        f"Received: {shown}."
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"num_attention_heads": 3},
            "Expected a width that its heads divide in config.json. Received: a width of 8 and 3 "
            "heads.",
        ),
        (
            {"layer_norm_eps": -1.0},
            "Expected layer_norm_eps in config.json to be above 0. Received: -1.0.",
        ),
        (
            {"layer_norm_eps": "1e-12"},
            "Expected layer_norm_eps in config.json to be above 0. Received: '1e-12'.",
        ),
        (
            {"hidden_dropout_prob": 1.0},
            "Expected hidden_dropout_prob in config.json to be a share below 1. Received: 1.0.",
        ),
        (
            {"hidden_act": "quick_gelu"},
            "Expected hidden_act in config.json to be one of gelu, gelu_python, gelu_accurate, "
            "gelu_fast, gelu_new, gelu_python_tanh, gelu_pytorch_tanh, relu, relu6, sigmoid, silu, "
            "swish, tanh, linear. Received: 'quick_gelu'.",
        ),
        (
            {"num_hidden_layers": 10**6},
            "Expected the 1000000 layers of config.json in its weights. Received: 2.",
        ),
        (
            {"hidden_size": 10**6},
            "Expected a tensor bert.embeddings.word_embeddings.weight of [13, 1000000] in the "
            "folder, as config.json has it. Received: one of [13, 8].",
        ),
        (
            {"vocab_size": 12},
            "Expected a tensor bert.embeddings.word_embeddings.weight of [12, 8] in the folder, "
            "as config.json has it. Received: one of [13, 8].",
        ),
        (
            {"type_vocab_size": 1},
            "Expected a tensor bert.embeddings.token_type_embeddings.weight of [1, 8] in the "
            "folder, as config.json has it. Received: one of [2, 8].",
        ),
        (
            {"intermediate_size": 32},
            "Expected a tensor bert.encoder.layer.0.intermediate.dense.weight of [32, 8] in the "
            "folder, as config.json has it. Received: one of [16, 8].",
        ),
    ],
)
def test_config_that_is_not_that_of_the_weights(settings, message, tmp_path):
    assert changed(tmp_path, **settings) == message


def test_more_words_than_rows(tmp_path):
    folder = write_folder(tmp_path / "folder", "bert")
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "rain"]) + "\n")
    assert (
        refusal(folder) == "Expected at most 13 tokens in the folder, its vocab_size. Received: 14."
    )


def test_rows_without_words_are_fine(tmp_path):
    """Tables are padded to round numbers."""
    folder = write_folder(tmp_path / "folder", "bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS[:-1]) + "\n")
    assert resolve(str(folder)).is_ready


@pytest.mark.parametrize("padding, rows", [(0, 33), (3, 30)])
def test_positions_of_roberta_start_behind_the_padding(padding, rows, tmp_path):
    config = config_of("roberta", pad_token_id=padding)
    assert EncoderConfig.read(tmp_path, config).longest == rows
    assert changed(tmp_path, "roberta", pad_token_id=padding) == (
        f"Expected pad_token_id of 1, the index of <pad>, in config.json. Received: {padding}."
    )


def test_too_few_positions_of_roberta(tmp_path):
    assert changed(tmp_path, "roberta", pad_token_id=33) == (
        "Expected more than 34 max_position_embeddings in config.json, since positions start "
        "behind pad_token_id. Received: 34."
    )


def without(tensors, *names):
    return {name: values for name, values in tensors.items() if name not in names}


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_missing_tensors_are_named(family, tmp_path):
    name = f"{family}.embeddings.LayerNorm.weight"
    folder = write_folder(tmp_path / "folder", family, without(random_tensors(family), name))
    assert refusal(folder) == (
        f"Expected a tensor {name} of [8] in the folder, as config.json has it. Received: none."
    )


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",
        "bert.encoder.layer.1.output.adapters.a.adapter_up.weight",
        "bert.encoder.layer.1.attention.self.query.lora_A.weight",
        "bert.embeddings.entity_embeddings.weight",
    ],
)
def test_tensors_of_another_arithmetic_are_named(name, tmp_path):
    tensors = {**random_tensors("bert"), name: np.ones((3, 8), np.float32)}
    assert refusal(write_folder(tmp_path / "folder", "bert", tensors)) == (
        f"Expected the weights of a plain Bert encoder in the folder. Received: {name}, too, which "
        "tfkd does not compute with. Give another model, or merge what was added to it."
    )


def test_constants_and_other_heads_are_no_arithmetic(tmp_path):
    more = {
        "bert.embeddings.position_ids": np.arange(POSITIONS)[None],
        "cls.predictions.bias": np.ones(13, np.float32),
    }
    folder = write_folder(tmp_path / "folder", "bert", {**random_tensors("bert"), **more})
    assert resolve(str(folder)).is_ready


def test_one_encoder_is_expected(tmp_path):
    one = encoder_alone(random_tensors("bert"), "bert", "question.")
    two = encoder_alone(random_tensors("bert"), "bert", "context.")
    folder = write_encoder(tmp_path / "two", "bert", {**one, **two})
    assert refusal(folder) == (
        "Expected the weights of one encoder in the folder. Received: "
        "context.embeddings.word_embeddings.weight, question.embeddings.word_embeddings.weight. "
        "Save the encoder alone."
    )
    folder = write_encoder(tmp_path / "none", "bert", {"x": np.ones(3, np.float32)})
    assert refusal(folder) == (
        "Expected the weights of one encoder in the folder. Received: no "
        "embeddings.word_embeddings.weight. Save the encoder alone."
    )


def test_quantized_weights_are_refused(tmp_path):
    folder = write_folder(tmp_path / "folder", "bert")
    tensors = random_tensors("bert")
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    save_file({**tensors, name: tensors[name].astype(np.int8)}, folder / "model.safetensors")
    assert refusal(folder) == (
        f"Expected weights of F64, F32, F16, BF16 in the folder. Received: {name} of I8. Give the "
        "model as it was before it was quantized."
    )
