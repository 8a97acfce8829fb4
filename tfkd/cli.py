"""The command line: one click group, one command a verb. The only place that prints.

A command resolves the verb's settings, calls its workflow and shows the result, as tables or as
JSON. Workflows are imported when their command runs, so `--help` loads no TensorFlow. Exit codes:
0 done, 1 an error the user can fix (one line on standard error), 2 wrong usage, 130 interrupted,
143 terminated; a traceback is always a bug.
"""

import contextlib
import importlib
import json
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

import click

import tfkd
from tfkd.config.fields import Config, nearest
from tfkd.config.training import OptimizerConfig, TrainingConfig
from tfkd.config.verbs import PredictConfig, StudyConfig
from tfkd.errors import DatasetError, TfkdError, system_error
from tfkd.keras_environment import settle_command
from tfkd.options import VerbCommand, json_option, parameters, resolve
from tfkd.parts import temporary_files_of_a_command
from tfkd.quiet import import_tensorflow, quiet_libraries
from tfkd.workflows import Result

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Whatever tidies up after Ctrl-C does so after this."""


class Verbs(click.Group):
    """The group of all verbs: turns errors a user can fix into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except TfkdError as error:
            raise click.ClickException(one_line(str(error))) from error
        except OSError as error:
            told = system_error(error)
            if told is None:
                raise
            raise click.ClickException(one_line(told)) from error
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "tfkd":
                raise
            raise click.ClickException(
                f"Expected all packages of tfkd. Received: {one_line(str(error))}. Install them "
                "with `pip install tfkd`."
            ) from error
        except click.UsageError as error:
            # Without its context click shows the message alone, not the usage lines above it.
            error.ctx = None
            raise
        except KeyboardInterrupt as error:
            is_told = isinstance(error, Terminated)
            click.echo("\nTerminated." if is_told else "\nInterrupted.", err=True)
            ctx.exit(TERMINATED if is_told else INTERRUPTED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the work, not of the alphabet."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb's command; an unknown verb is refused with the nearest known one."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(
                f"Expected a verb. Received: `{args[0]}`. {nearest(args[0], list(self.commands))}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tfkd.__version__, prog_name="tfkd")
def verbs() -> None:
    """Makes a text classifier tens of times smaller and faster, and proves what it cost.

    Start with `tfkd distill --dataset demo`: it needs nothing from the network.
    """


def main() -> None:
    """Entry point of `tfkd` and `python -m tfkd`."""
    quiet_libraries()
    signal.signal(signal.SIGTERM, _terminate)
    settle_command()
    with temporary_files_of_a_command():
        verbs()


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second one finds the tidying up under way.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def one_line(message: str) -> str:
    """A message without line breaks; what would change the terminal, from a file, is spelled."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in " ".join(message.split("\n"))
    )


def example(*lines: str) -> str:
    """The end of a command's help; the mark keeps click from rewrapping it."""
    return "\n  ".join(["\b\nExample:", *lines])


def verb(
    name: str, line: str, needs_tensorflow: bool = True
) -> Callable[[Callable[[Any], Result | None]], click.Command]:
    """A decorator that makes the command of `tfkd/workflows/<name>.py`.

    The function is its help. What it returns, other than None, is shown in the workflow's place.
    """

    def decorate(function: Callable[[Any], Result | None]) -> click.Command:
        def run(config_file: Path | None, as_json: bool, **given: Any) -> None:
            from tfkd.progress import Progress

            config = resolve(name, config_file, given)
            if isinstance(config, OptimizerConfig):
                from tfkd.runs.choices import check_names

                check_names(config)
            if needs_tensorflow:
                import_tensorflow()
            result = function(config)
            if isinstance(config, TrainingConfig):
                from tfkd.runs.strategy import helped

                result = helped(config)
            if result is None:
                workflow = importlib.import_module(f"tfkd.workflows.{name}")
                progress = Progress(quiet=getattr(config, "quiet", False))
                result = getattr(workflow, name)(config, progress)
            show(result, as_json)
            if problem := getattr(result, "problem", ""):
                raise click.ClickException(one_line(problem))

        run.__doc__ = function.__doc__
        made = verbs.command(name, VerbCommand, params=parameters(name), epilog=example(line))
        return made(run)

    return decorate


def show(result: Result, as_json: bool) -> None:
    """Prints a result to standard output."""
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from tfkd.evaluation.table import PIPED_WIDTH

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    for item in result.render():
        if isinstance(item, str) and console.is_terminal:
            item = _wrapped(item, console.width)
        console.print(item, soft_wrap=True)


def _wrapped(text: str, width: int) -> str:
    """Lines broken at blanks, which a terminal would break inside a figure; paths stay whole."""
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapper.fill(line) for line in text.splitlines())


@verb("check", "tfkd check ag_news --sequence-length 64", needs_tensorflow=False)
def check(config: Config) -> None:
    """Find all that is wrong with a data set.

    DATA is what --dataset of `tfkd distill` takes: a name, a folder or a file. Every row is read.
    """


@verb(
    "pretrain",
    "tfkd pretrain --encoder hf://sentence-transformers/all-MiniLM-L6-v2 --text ag_news",
)
def pretrain(config: Config) -> None:
    """Make a general student from an encoder and text alone.

    The student learns to give the encoder's vectors of the texts. What it writes is for --student
    of `tfkd distill`, task after task. Started again after an interruption it goes on where it was.
    """


@verb("finetune", "tfkd finetune --dataset ag_news --model bert_base_en_uncased")
def finetune(config: Config) -> None:
    """Train a classifier on labels.

    What it writes can be the teacher of `tfkd distill`, or be exported as it is.
    """


@verb("distill", "tfkd distill --dataset ag_news --student bert_tiny_en_uncased")
def distill(config: Config) -> None:
    """Train a student from a teacher.

    Fine-tunes the teacher if it is not yet, scores the training rows with it once, trains the
    student and an equal control without the teacher, exports, checks and times the files, and
    writes everything with its table to the output folder. Started again after an interruption it
    goes on where it was.
    """


@verb("evaluate", "tfkd evaluate saved_models/demo --split validation")
def evaluate(config: Config) -> None:
    """Measure the quality of a run's models.

    RUN is a finished folder of `tfkd distill` or `tfkd finetune`.
    """


@verb("quantize", "tfkd quantize saved_models/demo --max-mb 3 --max-drop 0.5")
def quantize(config: Config) -> None:
    """Compare quantization recipes on a run's model.

    RUN is a finished folder of `tfkd distill` or `tfkd finetune`, or a published classifier, which
    becomes a run as it is. Each recipe gives a LiteRT file that is run beside the Keras model,
    scored on the test split and timed. With a budget the smallest file that keeps to it is named.
    """


@verb("export", "tfkd export saved_models/demo --recipe dynamic_int8 --length 64")
def export(config: Config) -> None:
    """Write a run's model for other programs.

    RUN is a finished folder of `tfkd distill` or `tfkd finetune`. `tfkd list formats` tells what
    each format is for. Every file is run on held-out texts beside the Keras model; one that answers
    differently is not kept.
    """


@verb("benchmark", "tfkd benchmark saved_models/demo --threads 2")
def benchmark(config: Config) -> None:
    """Time the models of runs side by side.

    RUNS are finished folders of `tfkd distill`. All models take turns in one warm process, on real
    texts, so that a busy machine changes their ratios less.
    """


@verb("analyze", "tfkd analyze --model bert_base --model bert_tiny --length 64")
def analyze(config: Config) -> None:
    """Measure size and time of architectures.

    A size word needs no weights: time does not depend on them. Files go to a temporary folder that
    is removed again; BERT-base needs 1 GB there.
    """


@verb("study", "tfkd study configs/demo_study.toml --plan", needs_tensorflow=False)
def study(config: StudyConfig) -> Result | None:
    """Make arms x seeds x data sets and judge them.

    STUDY is a TOML file: data sets, teachers, students, seeds, recipes. An arm is a student with
    its teachers; beside it stands its control, the same student taught by the labels alone. Each
    teacher and each arm of each seed is a run folder; started again after an interruption only
    what is missing is made. Ends with one table a data set and a verdict on each comparison:
    BETTER, WORSE or INCONCLUSIVE.
    """
    from tfkd.studies.form import read_plan
    from tfkd.studies.plan import PlanResult

    plan = read_plan(config)
    if config.plan:
        return PlanResult(plan)
    import_tensorflow()
    return None


@verb("report", "tfkd report saved_models/demo saved_models/demo_study", needs_tensorflow=False)
def report(config: Config) -> None:
    """Write the pages of runs and studies again.

    FOLDERS are finished runs of `tfkd distill` or `tfkd finetune`, or studies of `tfkd study`. The
    page, report.html, opens in any browser and needs nothing beside it; README.md is the same in
    words, and a model card. A study's figures are computed anew from the answers it kept.
    """


@verb("errors", "tfkd errors saved_models/demo --output errors.csv", needs_tensorflow=False)
def errors(config: Config) -> None:
    """List the test texts that a run has wrong.

    RUN is a finished folder of `tfkd distill` or `tfkd finetune`. The most certain errors come
    first, with the label, the answer, the teacher's answer and how sure each is. Nothing is scored
    again: the run's predictions.parquet has it all.
    """


@verbs.command(
    "predict",
    params=parameters("predict"),
    epilog=example(
        'tfkd predict saved_models/demo "Oil prices fell again."',
        "tfkd predict saved_models/demo --input backlog.csv --text-column body --output scored.csv",
    ),
)
@click.argument("texts", nargs=-1)
def predict(texts: tuple[str, ...], config_file: Path | None, as_json: bool, **given: Any) -> None:
    """Answer label and probability of texts, or of a table's rows.

    RUN is a finished folder of `tfkd distill` or `tfkd finetune`. Each text gets one line. TEXTS
    are arguments, lines of a file or lines of standard input; a pair of sentences is one text with
    a tab between them. JSON lines have the probability of every class. With --output a table is
    written anew, its own columns first.
    """
    config = cast(PredictConfig, resolve("predict", config_file, given))
    source = config.input
    if texts and (source or config.output):
        option = "--input" if source else "--output"
        raise click.UsageError(f"Expected TEXTS or {option}. Received both. Leave one out.")
    from tfkd.workflows.predict import is_table, predict, predict_file, read_texts

    if is_table(config):
        return show(predict_file(config), as_json)
    if not texts and source is None and sys.stdin.isatty():
        click.echo("Reading one text a line; Ctrl-D ends.", err=True)
    with _opened(source) as stream:
        given_texts = texts or read_texts(stream, str(source or "standard input"))
        for prediction in predict(config, given_texts):
            if as_json:
                click.echo(json.dumps(prediction.to_dict(), ensure_ascii=False))
            else:
                click.echo(str(prediction))


def _opened(source: Path | None) -> contextlib.AbstractContextManager[IO[bytes]]:
    """The stream of a file, or standard input, which stays open, when there is none."""
    if source is None:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return source.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DatasetError(
            f"Expected a file with one text a line. Received: {source}: {error.strerror}."
        ) from error


@verb("serve", "tfkd serve saved_models/demo --port 8501", needs_tensorflow=False)
def serve(config: Config) -> None:
    """Answer texts over HTTP.

    RUNS are finished folders of `tfkd distill` or `tfkd finetune`, or folders that hold such as 1,
    2 and so on, of which the highest is served. Their LiteRT files answer the requests of
    TensorFlow Serving's REST contract, in a process without TensorFlow. SIGHUP looks for new
    versions. SIGTERM or Ctrl-C ends it after the requests it has taken are answered.
    """


@verb("clean", "tfkd clean saved_models --what cache --yes", needs_tensorflow=False)
def clean(config: Config) -> None:
    """Remove what no run needs.

    FOLDER holds runs, by default saved_models. Cache, what killed commands left, unfinished runs
    and teachers of no run are listed with their bytes, and removed with --yes. Files that tfkd did
    not write stay.
    """


@verb("doctor", "tfkd doctor --offline", needs_tensorflow=False)
def doctor(config: Config) -> None:
    """Tell whether runs work here, and how fast.

    FOLDER is where runs go, by default saved_models. TensorFlow is not loaded, nothing is
    downloaded. Ends with 1 where no run can work.
    """


@verbs.command("list", params=[json_option()], epilog=example("tfkd list models"))
@click.argument("kind", required=False, metavar="[datasets|models|recipes|formats]")
def list_names(kind: str | None, as_json: bool) -> None:
    """List datasets, models, recipes and formats by name.

    The models are size words, such as bert_tiny: architectures built from scratch, without
    pretrained weights. Presets, folders and handles are not listed.
    """
    from tfkd.workflows.listing import listing

    show(listing(kind), as_json)
