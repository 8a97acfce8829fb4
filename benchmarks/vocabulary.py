r"""What smaller vocabularies of a data set change, before anything is trained.

python benchmarks/vocabulary.py --data-dir DIR \
        saved_models/ag_news-minilm-finetuned --output results/ag_news_vocabulary.json
"""

import argparse
import tempfile
from pathlib import Path

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.data.checks import check
from tfkd.models.tokenizers import Tokenizer
from tfkd.models.vocabulary import trim
from tfkd.progress import Progress
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import Material, first_texts
from tfkd.runs.own_data import own_dataset
from tfkd.runs.student import COMPARED_TEXTS

TABLE_WIDTH = 128
SETTINGS = (
    {"min_count": 1},
    {"min_count": 2},
    {"min_count": 5},
    {"min_count": 10},
    {"vocabulary_size": 16000},
    {"vocabulary_size": 12000},
    {"vocabulary_size": 8000},
    {"vocabulary_size": 4000},
)


def main() -> None:
    """Cuts the vocabulary of a run by each setting and writes the reports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="finished run whose vocabulary is cut")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--sequence-length", type=int, default=64)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    quiet_libraries()
    run = RunFolder(options.run)
    dataset = own_dataset(run, options.data_dir)
    tokenizer = Tokenizer.load(run.model / "tokenizer").with_length(options.sequence_length)
    held_out = first_texts(dataset.splits["validation"], COMPARED_TEXTS)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        material = Material(dataset, check(dataset), Path(cache), Progress())
        train = material.tokens("train", tokenizer)
        for setting in SETTINGS:
            report = trim(tokenizer, train, held_out, TABLE_WIDTH, **setting).report
            print(setting, report.sentence())
            rows.append({**setting, **report.to_dict()})
        data = material.describe()
    result = {"rows": rows, "sequence_length": options.sequence_length, "data": data}
    write_json(options.output, {**result, "versions": versions()})


if __name__ == "__main__":
    main()
