"""What tf_text does to every code point, asked of its operators; run it to write it down again.

python tests/code_points.py
"""

import functools
import json
import unicodedata
from pathlib import Path

import tfkd.models

PATH = Path(tfkd.models.__file__).parent / "code_points.json"
NUM_CODE_POINTS = 0x110000
BLANK, ALONE = [1, 1], [1, 0, 1]


def surrounded():
    """Every code point between two letters; lone surrogates too, which TensorFlow lets pass."""
    import tensorflow as tf

    points = range(NUM_CODE_POINTS)
    return tf.constant([f"a{chr(point)}a".encode("utf-8", "surrogatepass") for point in points])


@functools.cache
def words():
    """What the splitter makes of each: one unknown word, two known ones, or three."""
    import tensorflow as tf
    import tensorflow_text as tf_text

    splitter = tf_text.FastWordpieceTokenizer(["[UNK]", "a"], token_out_type=tf.int32)
    return splitter.tokenize(surrounded()).to_list()


def probe(lowercase):
    """What becomes of each code point: strings in which blanks part words."""
    import tensorflow_text as tf_text

    normalizer = tf_text.FastBertNormalizer(lower_case_nfd_strip_accents=lowercase)
    normalized = normalizer.normalize(surrounded()).numpy()
    parts = words()

    def split(character):
        kind = parts[ord(character)]
        return " " if kind == BLANK else f" {character} " if kind == ALONE else character

    return [
        "".join(map(split, value.decode("utf-8", "surrogatepass")[1:-1])) for value in normalized
    ]


def compact(outcomes):
    """Ranges of code points that share a rule, and the replacements that follow none."""
    table = {"blank": [], "dropped": [], "alone": [], "decomposed": [], "replaced": {}}
    for point, outcome in enumerate(outcomes):
        character = chr(point)
        rules = {
            " ": "blank",
            "": "dropped",
            f" {character} ": "alone",
            unicodedata.normalize("NFD", character) if "가" <= character <= "힣" else None: (
                "decomposed"
            ),
        }
        if outcome == character:
            continue
        if outcome not in rules:
            table["replaced"][character] = outcome
            continue
        ranges = table[rules[outcome]]
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return table


def main():
    """Writes the table that the package reads, a line for each rule."""
    tables = {"cased": compact(probe(False)), "uncased": compact(probe(True))}
    parts = [
        f'"{name}": {{\n'
        + ",\n".join(
            f'"{rule}": {json.dumps(value, ensure_ascii=False, separators=(",", ":"))}'
            for rule, value in table.items()
        )
        + "\n}"
        for name, table in tables.items()
    ]
    PATH.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
