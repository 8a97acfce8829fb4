"""Folders as transformers writes them, tiny and random, and their forward pass in plain numpy."""

import json
import math

import numpy as np
from safetensors.numpy import save_file

WIDTH, WIDE, HEADS, LAYERS, POSITIONS = 8, 16, 2, 2, 34
LABELS = ("World", "Sports", "Business")
WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("oil", "prices", "fell", "cafe", "the", "team", "won", "late"),
]
BYTE_PAIRS = {
    "<s>": 0,
    "<pad>": 1,
    "</s>": 2,
    "<unk>": 3,
    "o": 4,
    "i": 5,
    "l": 6,
    "oi": 7,
    "oil": 8,
    "Ġ": 9,
    "Ġoil": 10,
    "f": 11,
    "<mask>": 12,
}
MERGES = ["o i", "oi l", "Ġ oil"]
# Where each family keeps the parts of a layer.
PARTS = {
    "bert": {
        "layer": "encoder.layer.",
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "norm": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "last_norm": "output.LayerNorm",
    },
    "distilbert": {
        "layer": "transformer.layer.",
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "output": "attention.out_lin",
        "norm": "sa_layer_norm",
        "wide": "ffn.lin1",
        "narrow": "ffn.lin2",
        "last_norm": "output_layer_norm",
    },
}
PARTS["roberta"] = PARTS["bert"]
# The layers behind the encoder: from the first token's vector to the logits.
HEAD = {
    "bert": (("bert.pooler.dense", "tanh"), ("classifier", None)),
    "distilbert": (("pre_classifier", "relu"), ("classifier", None)),
    "roberta": (("classifier.dense", "tanh"), ("classifier.out_proj", None)),
}
CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
TYPES = {"bert": 2, "roberta": 1}


def random_tensors(family, num_outputs=3, **rows):
    """A checkpoint's tensors, random, under their proper names."""
    generator = np.random.default_rng(12)
    tables = {"word_embeddings": len(WORDS), "position_embeddings": POSITIONS}
    if family in TYPES:
        tables["token_type_embeddings"] = TYPES[family]
    tables |= rows
    shapes = {f"{family}.embeddings.{k}.weight": (count, WIDTH) for k, count in tables.items()}
    dense, norms, parts = {}, [f"{family}.embeddings.LayerNorm"], PARTS[family]
    for layer in range(LAYERS):
        prefix = f"{family}.{parts['layer']}{layer}."
        for part in ("query", "key", "value", "output"):
            dense[prefix + parts[part]] = (WIDTH, WIDTH)
        dense[prefix + parts["wide"]] = (WIDE, WIDTH)
        dense[prefix + parts["narrow"]] = (WIDTH, WIDE)
        norms += [prefix + parts["norm"], prefix + parts["last_norm"]]
    (pooler, _), (logits, _) = HEAD[family]
    dense |= {pooler: (WIDTH, WIDTH), logits: (num_outputs, WIDTH)}
    shapes |= {f"{name}.weight": shape for name, shape in dense.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    shapes |= {f"{name}.{part}": (WIDTH,) for name in norms for part in ("weight", "bias")}
    tensors = {name: generator.normal(0, 0.7, s).astype(np.float32) for name, s in shapes.items()}
    for name in norms:
        tensors[f"{name}.weight"] += 1
    return tensors


def encoder_alone(tensors, family, prefix=""):
    """The encoder's tensors as AutoModel saves them, or under another prefix."""
    start = f"{family}."
    return {prefix + k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def config_of(family, **changes):
    """A config.json; a setting of None is left out."""
    sizes = {
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": WIDE,
        "hidden_dropout_prob": 0.1,
        "type_vocab_size": TYPES.get(family),
        "layer_norm_eps": 1e-5 if family == "roberta" else 1e-12,
    }
    if family == "distilbert":
        sizes = {
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "dim": WIDTH,
            "hidden_dim": WIDE,
            "dropout": 0.1,
        }
    settings = {
        "model_type": family,
        "architectures": [f"{CLASSES[family]}ForSequenceClassification"],
        "vocab_size": len(WORDS),
        "max_position_embeddings": POSITIONS,
        **sizes,
        "id2label": {str(index): label for index, label in enumerate(LABELS)},
        **changes,
    }
    return {key: value for key, value in settings.items() if value is not None}


def write_folder(folder, family, tensors=None, **changes):
    """A folder of a family; `changes` are settings of its config.json."""
    folder.mkdir()
    save_file(tensors or random_tensors(family), folder / "model.safetensors")
    write_json(folder / "config.json", config_of(family, **changes))
    if family == "roberta":
        write_json(folder / "vocab.json", BYTE_PAIRS)
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
        write_json(folder / "tokenizer_config.json", {})
    else:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        write_json(folder / "tokenizer_config.json", {"do_lower_case": True})
    return folder


def write_encoder(folder, family, tensors=None, **changes):
    """The same without a head, as `AutoModel` saves it."""
    tensors = tensors or encoder_alone(random_tensors(family), family)
    kind = {"architectures": [f"{CLASSES[family]}Model"], "id2label": None}
    return write_folder(folder, family, tensors, **{**kind, **changes})


def write_json(path, value):
    path.write_text(json.dumps(value))


def dense(tensors, name, x):
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def norm(tensors, name, x, epsilon):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_by_tanh(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def vectors(tensors, family, row, segments, activation=gelu, epsilon=None):
    """The encoder's vectors of one row of token ids without padding, as transformers computes them.

    Args:
        tensors: As `random_tensors` names them.
        family: String.
        row: Integers. Token ids.
        segments: Integers. Types of the tokens.
        activation: Function between the products of a layer.
        epsilon: Float. Default: that of the family's published encoders.
    """
    epsilon = epsilon or (1e-5 if family == "roberta" else 1e-12)
    first_position = 2 if family == "roberta" else 0
    tables = f"{family}.embeddings."
    x = tensors[tables + "word_embeddings.weight"][row]
    x = x + tensors[tables + "position_embeddings.weight"][first_position:][: len(row)]
    if family in TYPES:
        x = x + tensors[tables + "token_type_embeddings.weight"][segments]
    x = norm(tensors, tables + "LayerNorm", x, epsilon)
    for layer in range(LAYERS):
        parts = PARTS[family]
        name = {k: f"{family}.{parts['layer']}{layer}.{v}" for k, v in parts.items()}
        query, key, value = (
            dense(tensors, name[part], x).reshape(len(row), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = softmax(query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH / HEADS))
        mixed = (scores @ value).transpose(1, 0, 2).reshape(len(row), WIDTH)
        x = norm(tensors, name["norm"], x + dense(tensors, name["output"], mixed), epsilon)
        wide = activation(dense(tensors, name["wide"], x))
        x = norm(tensors, name["last_norm"], x + dense(tensors, name["narrow"], wide), epsilon)
    return x


def logits(tensors, family, row, segments, **options):
    """Logits of one row, from the vector of its first token."""
    vector = vectors(tensors, family, row, segments, **options)[0]
    for layer, after in HEAD[family]:
        vector = dense(tensors, layer, vector)
        vector = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0), None: lambda v: v}[after](
            vector
        )
    return vector
