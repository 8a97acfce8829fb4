"""The TOML form of a study: what its tables become, and what is refused with which words."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd import artifacts
from tfkd.cli import verbs
from tfkd.config.verbs import StudyConfig, read_toml
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ArtifactError, ConfigError
from tfkd.studies.form import kept_plan, make_plan, read_plan
from tfkd.studies.plan import PlanResult, state

FORM = """
seeds = [3, 5]
recipes = ["dynamic_int8"]
[settings]
epochs = 4
max_train_rows = 1000
[teachers.A]
model = "cnn"
epochs = 2
[teachers.B]
model = "cnn"
seed = 7
[students.tiny]
student = "bert_tiny"
temperature = 3.0
[students.cnn]
[datasets.demo]
[datasets.emotion]
epochs = 12
teachers.A = { epochs = 6 }
students.cnn = { epochs = 20 }
"""


def plan(text=FORM, **session):
    return make_plan("study", Path("out"), tomllib.loads(text), session)


def arm(found, dataset, name, seed=3):
    return next(
        item
        for item in found.arms
        if (item.dataset, item.name, item.config.seed) == (dataset, name, seed)
    )


def test_every_student_meets_every_teacher_and_has_one_control():
    names = [item.name for item in plan().of("demo").arms if item.config.seed == 3]
    assert names == ["tiny-control", "tiny-A", "tiny-B", "cnn-control", "cnn-A", "cnn-B"]
    assert [item.config.seed for item in plan().seeds_of()["tiny-A"]][:2] == [3, 5]
    assert len(plan().arms) == 2 * 2 * 6


def test_control_differs_from_its_student_in_the_label_weight_alone():
    found = plan()
    student, control = (
        arm(found, "demo", name).config.to_dict() for name in ("tiny-A", "tiny-control")
    )
    unlike = {key for key in student if student[key] != control[key]}
    assert unlike == {"student_loss_weight", "recipes", "output_dir"}
    assert control["student_loss_weight"] == 1.0
    assert {item.start for item in found.arms} == {"A"}


def test_the_nearer_table_wins():
    found = plan()
    assert arm(found, "demo", "tiny-A").config.epochs == 4
    assert arm(found, "emotion", "tiny-A").config.epochs == 12
    assert arm(found, "emotion", "cnn-A").config.epochs == 20
    assert arm(found, "demo", "cnn-A").config.student == "cnn"
    assert arm(found, "demo", "tiny-A").config.temperature == 3.0
    epochs = {(item.dataset, item.name): item.settings.epochs for item in found.teachers}
    assert epochs == {
        ("demo", "A"): 2,
        ("demo", "B"): None,
        ("emotion", "A"): 6,
        ("emotion", "B"): None,
    }
    assert {item.settings.max_train_rows for item in found.teachers} == {1000}


def test_seed_of_a_run_is_the_students_alone():
    assert [item.settings.seed for item in plan().of("demo").teachers] == [0, 7]
    assert {item.config.split_seed for item in plan().arms} == {0}


def test_arms_can_be_chosen_and_have_several_teachers():
    found = plan(FORM + '[[arms]]\nstudent = "cnn"\nteachers = ["A", "B"]\n').of("demo")
    assert [item.name for item in found.arms[:2]] == ["cnn-control", "cnn-A+B"]
    both = arm(found, "demo", "cnn-A+B")
    assert both.path == Path("out/demo-cnn-A+B-seed3")
    assert both.config.teacher == "demo-A+demo-B"


ARMS = """
[[arms]]
student = "cnn"
teachers = ["A", "B"]
[[arms]]
student = "cnn"
teachers = ["B", "A"]
weights = [3, 7]
temperatures = [1, 4]
name = "weighed"
[[arms]]
student = "cnn"
teachers = ["A", "B"]
weighting = "learned"
average = "logits"
name = "learned"
"""


def test_teachers_can_be_weighed_in_arms_of_their_own_name():
    found = plan(FORM + ARMS).of("demo")
    names = [item.name for item in found.arms[:4]]
    assert names == ["cnn-control", "cnn-A+B", "cnn-weighed", "cnn-learned"]
    assert [item.path.name for item in found.arms[2:4]] == [
        "demo-cnn-weighed-seed3",
        "demo-cnn-learned-seed3",
    ]
    assert arm(found, "demo", "cnn-A+B").mixing == Mixing()
    assert arm(found, "demo", "cnn-learned").mixing == Mixing(weighting="learned", average="logits")


def test_order_of_an_arms_teachers_decides_nothing():
    found = arm(plan(FORM + ARMS), "demo", "cnn-weighed")
    assert found.teachers == ("A", "B")
    assert found.mixing == Mixing(weights=(7, 3), temperatures=(4, 1))
    assert found.config.teacher == "demo-A+demo-B"
    turned = ARMS.replace('["A", "B"]', '["B", "A"]', 1)
    assert plan(FORM + turned).arms == plan(FORM + ARMS).arms


BOTH = '[[arms]]\nstudent = "cnn"\nteachers = ["A", "B"]\n'


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (BOTH + "wieghts = [1, 2]", "in [[arms]] of study. Received: `wieghts`. Did you mean `we"),
        (BOTH + "weights = [1]", "for each of 2 teachers of an arm. Received: weights=[1.0]."),
        (BOTH + "temperatures = [1, 2, 3]", "of an arm. Received: temperatures=[1.0, 2.0, 3.0]."),
        (BOTH + "weights = [0, 0]", "with a finite sum above 0. Received: weights=[0.0, 0.0]."),
        (BOTH + "weighting = 'best'", "Expected `weighting` to be one of equal, learned, "),
        (BOTH + "name = 'a/b'", "and not control. Received: name='a/b', teachers=['A', 'B']."),
        (BOTH + "name = 'control'", "and not control. Received: name='control', "),
        (BOTH + BOTH, "Received: `cnn-A+B` twice. Give an arm another `name`."),
        (BOTH + BOTH.replace('["A", "B"]', '["B", "A"]'), "Received: `cnn-A+B` twice."),
        (BOTH + "name = 'A'\n" + BOTH.replace('["A", "B"]', '["A"]'), "Received: `cnn-A` twice."),
        (BOTH.replace('["A", "B"]', '["A", "A"]'), "`teachers` in an arm. Received: ['A', 'A']."),
        (BOTH.replace('["A", "B"]', '["A", "C"]'), "to be one of A, B. Received: 'C'."),
        (BOTH.replace('["A", "B"]', '["A"]') + "average = 'logits'", "in an arm with `average`."),
        (BOTH.replace('["A", "B"]', "[]") + "name = 'x'", "Received: name='x', teachers=[]."),
        ('[[arms]]\nteachers = ["A"]', "Expected `student` to be given. Received nothing."),
    ],
)
def test_bad_arm_is_refused(form, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        plan(FORM + form)


def test_arm_that_has_the_name_of_a_teacher_is_refused():
    text = FORM.replace("[teachers.B]", '[teachers."cnn-A"]')
    with pytest.raises(ConfigError, match="Expected a name of its own .* Received: `cnn-A` twice."):
        plan(text)


def test_ready_teacher_is_not_fine_tuned():
    text = FORM.replace('[teachers.B]\nmodel = "cnn"\nseed = 7', '[teachers.B]\nready = "runs/x"')
    ready = plan(text).of("demo").teachers[1]
    assert (ready.settings, ready.ready) == (None, "runs/x")
    assert ready.mark != plan().of("demo").teachers[1].mark


def test_mark_of_a_teacher_follows_what_it_knows_and_not_where_it_lies():
    first = plan().teachers[0].mark
    assert plan(quiet=True, data_dir=Path("elsewhere")).teachers[0].mark == first
    assert plan(FORM.replace("epochs = 2", "epochs = 5")).teachers[0].mark != first


def test_mark_of_a_teacher_is_that_of_the_settings_that_were_chosen():
    settings = {"dataset": "demo", "max_train_rows": 1000, "model": "cnn", "epochs": 2}
    assert plan().teachers[0].mark == artifacts.fingerprint(settings)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[settings]", "[setings]", "Received: `setings`. Did you mean `settings`?"),
        ("seeds = [3, 5]", "seeds = [3, 3]", "different numbers. Received: seeds=[3, 3]"),
        ("seeds = [3, 5]", "sseeds = [3]", "Received: `sseeds`. Did you mean `seeds`?"),
        ("dynamic_int8", "dynamic_int9", "Did you mean `dynamic_int8`?"),
        ("temperature = 3.0", "temprature = 3.0", "in [students.tiny]. Received: `temprature`."),
        ("temperature = 3.0", "seed = 3", "Expected [students.tiny] in study to leave `seed` to"),
        (
            "temperature = 3.0",
            'strategy = "mirrored"',
            "Expected [students.tiny] in study to leave `strategy` to the study. Received: ",
        ),
        ("temperature = 3.0", "temperature = 0.1", "Expected `temperature` in [1.0, 100.0]."),
        (
            'model = "cnn"\nepochs = 2',
            "epochs = 2",
            "Expected `model`, `ready` or `answers` in [teachers.A]",
        ),
        ('model = "cnn"\nepochs = 2', 'ready = "x"\nepochs = 2', "of a ready teacher. Received: "),
        ("teachers.A = {", "teachers.C = {", "[datasets.emotion.teachers.C] in study to belong to"),
        ("[datasets.demo]", '[datasets."a/b"]', "[datasets.'a/b']. Give the data set or model"),
        ("[students.cnn]", "[[arms]]\nstudent = 'cn'\n[students.cnn]", "Received: 'cn'."),
    ],
)
def test_bad_form_is_refused(before, after, message):
    assert before in FORM
    with pytest.raises(ConfigError, match=re.escape(message)):
        plan(FORM.replace(before, after))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("students = 3\n", "Expected [students] in study to be a table. Received: 3."),
        ("settings = ['a']\n", "Expected [settings] in study to be a table. Received: ['a']."),
        (
            "students.tiny = 'bert_tiny'\n",
            "Expected [students.tiny] in study to be a table. Received: 'bert_tiny'.",
        ),
        (
            "datasets.demo.teachers = 1\n",
            "Expected [datasets.demo.teachers] in study to be a table. Received: 1.",
        ),
        (
            "datasets.demo.teachers.A = true\n",
            "Expected [datasets.demo.teachers.A] in study to be a table. Received: True.",
        ),
        ("arms = 'all'\n", "Expected `arms` in study as tables. Write each as [[arms]]."),
        ("arms = [1]\n", "Expected [[arms]] in study to be a table. Received: 1."),
        ("[published]\na = 1\n", "Expected `published` in study as tables. Write each as"),
    ],
)
def test_what_is_no_table_is_refused(text, message):
    form = tomllib.loads(FORM)
    form.update(tomllib.loads(text))
    for kind, table in (("teachers", {"A": {"model": "cnn"}}), ("students", {"tiny": {}})):
        form.setdefault(kind, table)
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        make_plan("study", Path("out"), form, {})


def test_missing_table_is_refused():
    with pytest.raises(ConfigError, match=r"Expected at least one table \[students.NAME\] in x."):
        make_plan("x", Path("out"), {"teachers": {"A": {"model": "cnn"}}}, {})


def test_published_figure_needs_something_to_stand_beside():
    text = '[[published]]\ndataset = "demo"\narm = "tiny-C"\nvalue = 0.9\nsource = "them"\n'
    with pytest.raises(ConfigError, match="Received: tiny-C on demo. Did you mean"):
        plan(FORM + text)
    found = plan(FORM + text.replace("tiny-C", "tiny-B"))
    assert [item.value for item in found.of("demo").published] == [0.9]
    assert found.of("emotion").published == ()


def test_kept_plan_is_the_plan(tmp_path):
    found = make_plan("study", tmp_path, tomllib.loads(FORM), {})
    found.write()
    assert kept_plan(tmp_path) == found
    with pytest.raises(ArtifactError, match=r"Expected the file .*plan.json"):
        kept_plan(tmp_path / "empty")


@pytest.mark.parametrize("name", ["README.md", "plan.json"])
def test_plan_is_not_kept_in_a_folder_of_another_program(tmp_path, name):
    found = make_plan("study", tmp_path, tomllib.loads(FORM), {})
    (tmp_path / name).write_text('{"steps": ["theirs"]}')
    message = (
        "Expected a new or empty folder for the study, or its own. Received: "
        f"{tmp_path}, which holds other files. Give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        found.write()
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == '{"steps": ["theirs"]}'


def test_plan_names_the_file_of_the_study(tmp_path):
    path = tmp_path / "news.toml"
    path.write_text(FORM, encoding="utf-8")
    found = read_plan(StudyConfig(study=path))
    assert (found.name, found.path) == ("news", Path("saved_models/news"))
    with pytest.raises(ConfigError, match=r"missing.toml, which does not exist\.$"):
        read_plan(StudyConfig(study=tmp_path / "missing.toml"))
    path.write_text("seeds = [", encoding="utf-8")
    with pytest.raises(ConfigError, match="Expected a TOML file."):
        read_plan(StudyConfig(study=path))


def test_steps_tell_what_is_there(tmp_path):
    found = make_plan("study", tmp_path, tomllib.loads(FORM), {}).of("demo")
    (found.teachers[0].path).mkdir()
    settings = found.teachers[0].settings.to_dict()
    artifacts.write_json(found.teachers[0].path / "config.json", {"verb": "finetune", **settings})
    (found.teachers[1].path).mkdir()
    (found.teachers[1].path / "metrics.json").write_text("{}", encoding="utf-8")
    assert [state(item.path) for item in found.items[:3]] == ["begun", "done", "to do"]
    result = PlanResult(found)
    table, line = result.render()
    assert [column.title for column in table.columns] == ["Data set", "Step", "Folder", "State"]
    assert table.rows[2] == ("demo", "tiny-control, seed 3", "demo-tiny-control-seed3", "to do")
    assert line == f"1 of 14 done in {tmp_path}"
    assert result.to_dict()["steps"][2] == {
        "dataset": "demo",
        "step": "tiny-control, seed 3",
        "folder": "demo-tiny-control-seed3",
        "state": "to do",
    }


def test_plan_on_the_command_line_makes_nothing(tmp_path, monkeypatch):
    from click.testing import CliRunner

    path = tmp_path / "news.toml"
    path.write_text(FORM, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(verbs, ["study", str(path), "--plan"], prog_name="tfkd")
    assert result.exit_code == 0
    assert "demo-tiny-A-seed5" in result.output
    assert "0 of 28 done in saved_models/news" in result.output
    assert [item.name for item in tmp_path.iterdir()] == ["news.toml"]


CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
    if "[distill]" not in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_study_of_the_project_can_be_planned(path, tmp_path):
    text = path.read_text("utf-8")
    assert f"python -m tfkd study configs/{path.name}" in text
    found = make_plan(path.stem, tmp_path, tomllib.loads(text), {})
    assert len(found.terms.seeds) >= 2
    # A control, which has no teacher, for each seed of each data set at least.
    assert sum(not arm.teachers for arm in found.arms) >= len(found.terms.seeds)


# A value of every kind that TOML and JSON have, in every place of a form.
SHAPES = [
    3,
    10**400,
    1e999,
    True,
    "x",
    "a\0b",
    "",
    [],
    [3],
    [[3]],
    {},
    {"a": 1},
    {"a": {"b": 1}},
    [{"a": 1}],
]


def places(value, above=()):
    yield above
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*above, key))


def test_whatever_stands_where_is_a_form_or_one_line():
    text = FORM + ARMS + '[[published]]\ndataset = "demo"\narm = "A"\nvalue = 0.5\nsource = "x"\n'
    assert plan(text).arms
    refused = 0
    for place in list(places(tomllib.loads(text)))[1:]:
        for shape in SHAPES:
            content = tomllib.loads(text)
            inner = content
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = shape
            try:
                make_plan("study", Path("out"), content, {})
            except ConfigError as error:
                refused += 1
                assert "\n" not in str(error)
                assert len(str(error)) < 1200
    assert refused > 400


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "7" * 5000, "a =", "a = '\udc80'"])
def test_what_is_no_toml_is_one_line(text, tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for read in (lambda: read_plan(StudyConfig(study=path)), lambda: read_toml(path, "distill")):
        with pytest.raises(
            ConfigError, match=f"^Expected a TOML file. Received: {path}: "
        ) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"name": 3, "content": {}}, {"name": "x", "content": []}])
def test_kept_plan_of_another_shape_is_refused(content, tmp_path):
    artifacts.write_json(tmp_path / "plan.json", content)
    message = (
        f"^Expected {tmp_path / 'plan.json'} as tfkd wrote it. Received: no plan of a study. Start "
    )
    with pytest.raises(ArtifactError, match=message):
        kept_plan(tmp_path)
