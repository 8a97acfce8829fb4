"""Settings of a Hugging Face folder that tfkd knows, so that no other one is passed over.

transformers writes whatever a model class is given. A setting is honoured, has one value that is
ours, or has nothing to do with the numbers; what is none of these and sounds as if it had is
refused.
"""

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tfkd.artifacts import JsonObject
from tfkd.errors import ModelError, shown

# Where files come from, how they are run, what is trained or written with them.
_HARMLESS = """
    _attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
    _name_or_path _num_labels attn_implementation bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward classifier_dropout cross_attention_hidden_size decoder_start_token_id
    directionality diversity_penalty do_sample dtype early_stopping encoder_no_repeat_ngram_size
    eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id gradient_checkpointing initializer_range label2id language length_penalty
    mask_token_id max_length min_length model_name name_or_path no_repeat_ngram_size
    normalize_embeddings num_beam_groups num_beams num_return_sequences output_attentions
    output_hidden_states output_past output_scores pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type prefix
    qa_dropout remove_invalid_values repetition_penalty return_dict return_dict_in_generate
    sep_token_id seq_classif_dropout sinusoidal_pos_embds suppress_tokens task_specific_params
    temperature tf_legacy_loss tie_encoder_decoder tie_weights_ tie_word_embeddings tokenizer_class
    top_k top_p torch_dtype torchscript transformers_version typical_p unk_token_id use_bfloat16
    use_cache xla_device
"""
_FIXED: Mapping[str, Collection[object]] = {
    "adapters": (),
    "add_cross_attention": (False,),
    "auto_map": (),
    "compression_config": (),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    # DistilBERT has no setting of it; the other families read theirs.
    "layer_norm_eps": (1e-12,),
    "per_layer_config": (),
    "position_embedding_type": ("absolute",),
    "pruned_heads": (),
    "quantization_config": (),
    # sentence-transformers' cross-encoders: what is made of a logit.
    "sbert_ce_default_activation_function": ("torch.nn.modules.linear.Identity",),
}
_WORDS = """
    act activation activations adapter adapters alibi attention attn bias block blocks conv cross
    embed embedding embeddings eps epsilon expert experts ffn feedforward gate gated geglu glu
    group groups head heads hidden inner intermediate kernel layer layernorm layers lora mask mlp
    moe norm norms normalize position positional positions pool pooler pooling quant quantization
    quantized rank relative residual rmsnorm rope rotary scale scaling share shared softmax swiglu
    window
"""

_TOKENIZER_HARMLESS = """
    add_bos_token add_eos_token backend clean_up_tokenization_spaces errors from_slow is_local
    keep_accents legacy local_files_only mask_token max_len max_length model_input_names
    model_max_length name_or_path pad_to_multiple_of pad_token_type_id padding padding_side
    processor_class sep_token special_tokens_map_file stride trim_offsets truncation
    truncation_strategy use_fast
"""
_TOKENIZER_FIXED: Mapping[str, Collection[object]] = {
    "auto_map": (),
    "clean_text": (True,),
    "do_basic_tokenize": (True,),
    "do_subword_tokenize": (True,),
    "do_word_tokenize": (True,),
    "max_input_chars_per_word": (100,),
    "split_special_tokens": (False,),
    "subword_tokenizer_type": ("wordpiece",),
    "truncation_side": ("right",),
    "word_tokenizer_type": ("basic",),
    "wordpieces_prefix": ("##",),
}
_TOKENIZER_WORDS = """
    accents byte bytes case cased char chars chinese dictionary digits dropout fallback jumanpp
    kwargs lower lowercase lowercasing mecab merges normalization normalize normalizer numbers
    prefix punctuation scripts space spaces split splits strip subword sudachi tokenize unicode
    word words
"""


@dataclasses.dataclass(frozen=True)
class KnownKeys:
    """The settings of a file that are known.

    Attributes:
        harmless: Settings that change no number.
        fixed: Settings by the values that are ours; nothing at all always is.
        words: Parts of a name by which an unknown setting is held for one that changes numbers.
    """

    harmless: Collection[str]
    fixed: Mapping[str, Collection[object]]
    words: Collection[str]

    def check(self, path: Path, settings: JsonObject, read: Collection[str]) -> None:
        """Refuses a file with a setting that would give other numbers than tfkd's.

        Raises:
            ModelError: There is one.
        """
        for key, value in settings.items():
            if key in read or key in self.harmless or _is_nothing(value):
                continue
            if key in self.fixed:
                self._check_fixed(path, key, value)
            elif value is not False and self._sounds(key):
                raise ModelError(
                    f"Expected settings in {path} that tfkd knows. Received: {key}="
                    f"{shown(value)}, which sounds as if it changed the numbers. Take it out of "
                    "the file if it does not, or give another model."
                )

    def _sounds(self, key: str) -> bool:
        return not set(re.split(r"[\W_]+", key.lower())).isdisjoint(self.words)

    def _check_fixed(self, path: Path, key: str, value: object) -> None:
        if any(type(value) is type(ours) and value == ours for ours in self.fixed[key]):
            return
        ours = " or ".join(repr(each) for each in self.fixed[key]) or "nothing"
        raise ModelError(
            f"Expected {key} of {ours} in {path}. Received: {shown(value)}, which tfkd does not "
            "compute. Give another model."
        )


CONFIG_KEYS = KnownKeys(_HARMLESS.split(), _FIXED, _WORDS.split())
TOKENIZER_KEYS = KnownKeys(_TOKENIZER_HARMLESS.split(), _TOKENIZER_FIXED, _TOKENIZER_WORDS.split())


def read_settings(path: Path) -> Any:
    """The JSON value of a file of a folder; an empty object without the file.

    Raises:
        ModelError: It is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    # Deep JSON, too, and numbers of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"Expected JSON in {path}. Received: {shown(str(error))}.") from error


def read_object(path: Path) -> JsonObject:
    """The JSON object of a file; an empty one without the file.

    Raises:
        ModelError: It is not JSON, or another value.
    """
    value = read_settings(path)
    if not isinstance(value, dict):
        raise ModelError(f"Expected a JSON object in {path}. Received: {shown(value)}.")
    return value


def _is_nothing(value: object) -> bool:
    """Whether a setting is switched off: null, an empty text, list or mapping."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)
