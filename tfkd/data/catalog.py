"""Every data set tfkd knows by name: what it asks, where its fields lie, how it is scored.

One row a set. Label names stand in index order and agree with the published files, so a local
folder, prepared TFDS data and a download give the same indices. Nothing here reads any data.
"""

import dataclasses
from collections.abc import Mapping

from tfkd.config.fields import nearest
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.errors import ConfigError

TEACHER = "bert_base_en_uncased"
STUDENT = "bert_tiny_en_uncased"
MULTILINGUAL_TEACHER = "bert_base_multi"
MULTILINGUAL_STUDENT = "bert_tiny"


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Facts of a data set that are known before any of it is read.

    Attributes:
        name: The name users write.
        description: One line.
        label_names: Class names in index order; one name for regression.
        tfds_name: Name for `tfds.builder`, or None when the set is only read from a local folder.
        host: Host a download starts at, or None when nothing is downloaded.
        splits: Our split (train, validation, test) to TFDS split. A split whose labels are not
            published is left out, and GLUE's validation split serves as test.
        text_features: TFDS features that hold the text. With `num_texts` 1 and several features
            they are joined by one blank.
        num_texts: 1 for single texts, 2 for pairs.
        task: One of `tfkd.data.examples.TASKS`.
        label_features: TFDS feature of the label; for multi-label one 0/1 feature a class.
        metric: Headline metric: the one by which a benchmark judges, or the first of two that it
            names, as GLUE does for mrpc, qqp (F1, accuracy) and stsb (Spearman, Pearson).
        teacher: Default teacher model.
        student: Default student model.
        folder: Name of the local folder under the data directory.
        manual_file: Upstream file that spares the download when it lies in TFDS' manual folder.
    """

    name: str
    description: str
    label_names: tuple[str, ...]
    tfds_name: str | None
    host: str | None
    splits: Mapping[str, str]
    text_features: tuple[str, ...] = ("text",)
    num_texts: int = 1
    task: str = SINGLE_LABEL
    label_features: tuple[str, ...] = ("label",)
    metric: str = "accuracy"
    teacher: str = TEACHER
    student: str = STUDENT
    folder: str = ""
    manual_file: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.name)


TRAIN_TEST = {"train": "train", "test": "test"}
ALL_SPLITS = {"train": "train", "validation": "validation", "test": "test"}

GOEMOTIONS = tuple(
    "admiration amusement anger annoyance approval caring confusion curiosity desire "
    "disappointment disapproval disgust embarrassment excitement fear gratitude grief joy love "
    "nervousness optimism pride realization relief remorse sadness surprise neutral".split()
)
MASSIVE_INTENTS = tuple(
    "datetime_query iot_hue_lightchange transport_ticket takeaway_query qa_stock general_greet "
    "recommendation_events music_dislikeness iot_wemo_off cooking_recipe qa_currency "
    "transport_traffic general_quirky weather_query audio_volume_up email_addcontact "
    "takeaway_order email_querycontact iot_hue_lightup recommendation_locations play_audiobook "
    "lists_createoradd news_query alarm_query iot_wemo_on general_joke qa_definition social_query "
    "music_settings audio_volume_other calendar_remove iot_hue_lightdim calendar_query "
    "email_sendemail iot_cleaning audio_volume_down play_radio cooking_query datetime_convert "
    "qa_maths iot_hue_lightoff iot_hue_lighton transport_query music_likeness email_query "
    "play_music audio_volume_mute social_post alarm_set qa_factoid calendar_set play_game "
    "alarm_remove lists_remove transport_taxi recommendation_movies iot_coffee music_query "
    "play_podcasts lists_query".split()
)
MASSIVE_LOCALES = tuple(
    "af_za am_et ar_sa az_az bn_bd ca_es cy_gb da_dk de_de el_gr en_us es_es fa_ir fi_fi fr_fr "
    "he_il hi_in hu_hu hy_am id_id is_is it_it ja_jp jv_id ka_ge km_kh kn_in ko_kr lv_lv ml_in "
    "mn_mn ms_my my_mm nb_no nl_nl pl_pl pt_pt ro_ro ru_ru sl_sl sq_al sv_se sw_ke ta_in te_in "
    "th_th tl_ph tr_tr ur_pk vi_vn zh_cn zh_tw".split()
)
JIGSAW_FEATURES = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
JIGSAW = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
SENTIMENT = ("negative", "positive")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
SENTENCES = ("sentence1", "sentence2")


def _glue(
    name: str,
    description: str,
    label_names: tuple[str, ...],
    text_features: tuple[str, ...],
    metric: str = "accuracy",
    tfds_name: str = "",
    validation: str = "validation",
) -> DatasetSpec:
    """A GLUE task; its validation split is the test split."""
    return DatasetSpec(
        name,
        description,
        label_names,
        tfds_name or f"glue/{name}",
        "dl.fbaipublicfiles.com",
        {"train": "train", "test": validation},
        text_features,
        len(text_features),
        REGRESSION if len(label_names) == 1 else SINGLE_LABEL,
        metric=metric,
    )


def _massive(locale: str, name: str) -> DatasetSpec:
    is_english = locale == "en_us"
    return DatasetSpec(
        name,
        f"Intent of a request to a voice assistant, {locale}.",
        MASSIVE_INTENTS,
        f"massive/{locale}",
        "amazon-massive-nlu-dataset.s3.amazonaws.com",
        ALL_SPLITS,
        teacher=TEACHER if is_english else MULTILINGUAL_TEACHER,
        student=STUDENT if is_english else MULTILINGUAL_STUDENT,
        folder=f"massive_{locale}",
        manual_file="amazon-massive-dataset-1.1.tar.gz",
    )


_SPECS = (
    DatasetSpec(
        "demo",
        "Generated newswire with known class probabilities; needs no data.",
        label_names=(),
        tfds_name=None,
        host=None,
        splits=ALL_SPLITS,
        teacher="bert_mini",
        student="bert_tiny",
    ),
    DatasetSpec(
        "ag_news",
        "Topic of a news story, title and description.",
        ("World", "Sports", "Business", "Sci/Tech"),
        "ag_news_subset",
        "drive.google.com",
        TRAIN_TEST,
        ("title", "description"),
    ),
    _glue("sst2", "Sentiment of a phrase of a film review.", SENTIMENT, ("sentence",)),
    _glue(
        "cola",
        "Whether a sentence is grammatical.",
        ("unacceptable", "acceptable"),
        ("sentence",),
        "mcc",
    ),
    _glue(
        "mrpc",
        "Whether two sentences of the news say the same.",
        ("not_equivalent", "equivalent"),
        SENTENCES,
        "f1",
    ),
    _glue(
        "qqp",
        "Whether two questions ask the same.",
        ("not_duplicate", "duplicate"),
        ("question1", "question2"),
        "f1",
    ),
    _glue("stsb", "How alike two sentences are, 0 to 5.", ("similarity",), SENTENCES, "spearman"),
    _glue(
        "mnli",
        "Whether a premise entails a hypothesis; test = validation_matched.",
        NLI,
        ("premise", "hypothesis"),
        validation="validation_matched",
    ),
    _glue(
        "mnli_mismatched",
        "As mnli; test = validation_mismatched, other genres than train.",
        NLI,
        ("premise", "hypothesis"),
        tfds_name="glue/mnli",
        validation="validation_mismatched",
    ),
    _glue("qnli", "Whether a sentence answers a question.", ENTAILMENT, ("question", "sentence")),
    _glue("rte", "Whether a text entails a hypothesis.", ENTAILMENT, SENTENCES),
    _glue(
        "wnli",
        "Whether a pronoun is read as its noun; 635 rows.",
        ("not_entailment", "entailment"),
        SENTENCES,
    ),
    DatasetSpec(
        "emotion",
        "Emotion of a tweet.",
        ("sadness", "joy", "love", "anger", "fear", "surprise"),
        "emotion",
        "huggingface.co",
        ALL_SPLITS,
        manual_file="emotion/train.txt",
    ),
    _massive("en_us", "massive"),
    DatasetSpec(
        "goemotions",
        "Emotions of a Reddit comment, any number of 28.",
        GOEMOTIONS,
        "goemotions",
        "github.com",
        ALL_SPLITS,
        ("comment_text",),
        task=MULTI_LABEL,
        label_features=GOEMOTIONS,
        metric="macro_f1",
    ),
    DatasetSpec(
        "imdb",
        "Sentiment of a long film review.",
        SENTIMENT,
        "imdb_reviews",
        "ai.stanford.edu",
        TRAIN_TEST,
    ),
    DatasetSpec(
        "yelp_polarity",
        "Sentiment of a review of a business.",
        SENTIMENT,
        "yelp_polarity_reviews",
        "s3.amazonaws.com",
        TRAIN_TEST,
    ),
    DatasetSpec(
        "jigsaw_toxic",
        "Kinds of toxicity of a Wikipedia comment, any number of 6.",
        JIGSAW,
        "wikipedia_toxicity_subtypes/EnglishSubtypes",
        "storage.googleapis.com",
        TRAIN_TEST,
        task=MULTI_LABEL,
        label_features=JIGSAW_FEATURES,
        metric="macro_f1",
    ),
    DatasetSpec(
        "news_aggregator",
        "Topic of a headline (UCI); local folder only.",
        ("business", "science_technology", "entertainment", "health"),
        tfds_name=None,
        host=None,
        splits=ALL_SPLITS,
    ),
    DatasetSpec(
        "trec",
        "Kind of answer a question asks for, six coarse classes.",
        ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
        "trec",
        "http://cogcomp.org",
        TRAIN_TEST,
        label_features=("label-coarse",),
    ),
)
CATALOG: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}


def find(name: str) -> DatasetSpec:
    """The entry of a data set's name; `massive` also takes a language, `massive/de_de`.

    Args:
        name: String. A key of `CATALOG`, or `massive/<locale>` (also `massive_<locale>`).

    Raises:
        ConfigError: The name is unknown; the message offers the nearest one.

    Example:

    >>> find("ag_news").label_names
    ('World', 'Sports', 'Business', 'Sci/Tech')
    """
    if name in CATALOG:
        return CATALOG[name]
    if name.startswith(("massive/", "massive_")):
        locale = name[len("massive/") :].lower().replace("-", "_")
        if locale in MASSIVE_LOCALES:
            return _massive(locale, name)
        names = [f"massive/{known}" for known in MASSIVE_LOCALES]
        raise ConfigError(
            f"Expected a language of massive. Received: `{name}`. {nearest(name, names)}"
        )
    raise ConfigError(
        f"Expected a known data set or an existing folder or file. Received: `{name}`. "
        f"{nearest(name, list(CATALOG), 'tfkd list datasets')}"
    )
