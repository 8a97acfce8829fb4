"""The formats a student can be packaged in, declared and not programmed.

`tfkd.compression.package` writes them.
"""

import dataclasses

from tfkd.compression.recipes import RECIPES
from tfkd.config.fields import nearest
from tfkd.errors import ConfigError

EDGE, TEXT_TFLITE, SAVED_MODEL = "edge", "text-tflite", "saved-model"
PYTHON, ONNX, WEB = "python", "onnx", "web"
# Folders with a file that takes tokens and a program that makes them of texts.
KITS = (PYTHON, ONNX, WEB)
# The signature of a text-tflite file.
TEXT_SIGNATURE = "classify_text"


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to ship a student.

    Attributes:
        name: As `tfkd export --format` takes it.
        summary: A line on the format.
        when_to_use: Client it is for.
        recipes: Names of the recipes it can be written by, the default first.
        next_step: What to type in its folder, to ask it.
    """

    name: str
    summary: str
    when_to_use: str
    recipes: tuple[str, ...]
    next_step: str = ""


# Every recipe that needs no training, the default first.
_UNTRAINED = (
    "dynamic_int8",
    *(name for name, one in RECIPES.items() if not one.trained and name != "dynamic_int8"),
)
_ASK_IN_PYTHON = "pip install -r requirements.txt && python text_classifier.py TEXT"
FORMATS = {
    form.name: form
    for form in (
        Format(
            name=EDGE,
            summary="A .tflite file of tokens to scores, with vocabulary and labels inside.",
            when_to_use="On phones and in browsers: MediaPipe's TextClassifier runs it as it is. "
            "It tokenizes plain English as in training, but keeps accents and knows fewer kinds of "
            "blanks, so other scripts are better served by text-tflite.",
            recipes=_UNTRAINED,
        ),
        Format(
            name=TEXT_TFLITE,
            summary="A .tflite file of text to scores, with the tokenizer in its graph.",
            when_to_use="In programs that link tf_text's operators into LiteRT. Tokenizes as in "
            "training; with BERT's vocabulary 1.8 MB larger than edge.",
            recipes=("dynamic_int8", "float32", "float16", "int4_tables", "int4"),
        ),
        Format(
            name=SAVED_MODEL,
            summary="A SavedModel of texts to scores and labels, float32.",
            when_to_use="On servers: TensorFlow Serving's predict and classify, or "
            "`tf.saved_model.load` after `import tensorflow_text`.",
            recipes=("float32",),
        ),
        Format(
            name=PYTHON,
            summary="A folder with a .tflite file, its vocabulary and a module that asks it.",
            when_to_use="In Python without tfkd and TensorFlow: NumPy and ai-edge-litert do.",
            recipes=_UNTRAINED,
            next_step=_ASK_IN_PYTHON,
        ),
        Format(
            name=ONNX,
            summary="The same folder with an .onnx file.",
            when_to_use="Where ONNX Runtime is at home, or for programs in its many languages: "
            "texts of any length up to the student's. Needs tfkd[onnx].",
            recipes=("dynamic_int8", "float32"),
            next_step=_ASK_IN_PYTHON,
        ),
        Format(
            name=WEB,
            summary="A folder with a .tflite file, its vocabulary, a tokenizer in JavaScript and a "
            "page.",
            when_to_use="In browsers, by LiteRT.js, which npm brings once; offline after that. "
            "Tokenizes as in training.",
            recipes=_UNTRAINED,
            next_step="npm install && python -m http.server, then open http://localhost:8000",
        ),
    )
}


def find(name: str) -> Format:
    """The format of a name.

    Raises:
        ConfigError: The name is unknown; the message offers the nearest one.

    Example:

    >>> find("edge").recipes[0]
    'dynamic_int8'
    """
    if name not in FORMATS:
        raise ConfigError(
            f"Expected `format` to be one of {', '.join(FORMATS)}. Received: format={name!r}. "
            f"{nearest(name, list(FORMATS))}"
        )
    return FORMATS[name]
