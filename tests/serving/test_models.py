"""The table of models: what is found, what a reload changes, and what it leaves alone."""

import asyncio
import threading

import numpy as np
import pytest

from tests.messages import exactly
from tfkd.errors import ArtifactError
from tfkd.serving.batcher import QueueLimits, StoppingError
from tfkd.serving.contract import Refusal, ServedModel
from tfkd.serving.models import Models

SECONDS = 60.0


class Constant:
    """Answers with its number, once its gate is open."""

    def __init__(self, number):
        self.number = number
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, texts):
        assert self.gate.wait(SECONDS)
        return np.full((len(texts), 1), self.number, np.float32)


class Folder:
    """Versions of a model with the numbers they answer."""

    def __init__(self, name, **numbers):
        self.name = name
        self.numbers = {version.removeprefix("v"): number for version, number in numbers.items()}
        self.broken = set()
        self.made = {}
        self.num_loads = 0

    def versions(self):
        if not self.numbers:
            raise ArtifactError(f"Expected a folder {self.name}.")
        return dict(sorted(self.numbers.items(), reverse=True))

    def load(self, version):
        self.num_loads += 1
        if version in self.broken:
            raise ArtifactError("Expected a LiteRT file.")
        model = ServedModel(self.name, "regression", ("score",), version=version)
        self.made[version] = Constant(self.numbers[version])
        return model, [self.made[version]]


def test_a_version_is_found_by_name_and_number_and_by_default_the_newest():
    models = Models([Folder("news", v1=1, v2=2), Folder("views", v7=7)], QueueLimits())
    assert models.names == ["news", "views"]
    assert models.versions("news") == ["2", "1"]
    assert models.find("news").model.version == "2"
    assert models.find("news", "1").model.version == "1"
    message = (
        "Expected model news, version 2, 1 or model views, version 7. Received another name or "
        "version."
    )
    for name, version in (("old", None), ("news", "3"), ("views", "1"), ("", ""), ("news", "02")):
        with pytest.raises(Refusal, match=exactly(message)) as refused:
            models.find(name, version)
        assert refused.value.status == 404


def test_a_model_that_cannot_be_read_at_the_start_is_an_error():
    folder = Folder("news", v1=1)
    folder.broken = {"1"}
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file\.$"):
        Models([folder], QueueLimits())


def reloaded(folder, change, others=()):
    """What one reload gives, and the number and version that answer then."""
    said = []
    models = Models([folder, *others], QueueLimits(), said.append)

    async def run():
        async with models.running():
            change()
            changes, failures = await models.reload()
            found = models.find(folder.name)
            number = (await found.batcher.predict(["rain"]))[0, 0]
            return changes, failures, models.versions(folder.name), number

    changes, failures, versions, number = asyncio.run(run())
    assert said == [*changes, *failures]
    return changes, failures, versions, number


def test_a_new_version_takes_the_place_of_the_old():
    folder, other = Folder("news", v1=1), Folder("views", v1=9)
    changes, failures, versions, number = reloaded(
        folder, lambda: setattr(folder, "numbers", {"2": 2}), [other]
    )
    assert changes == ["Reloaded: news answers with version 2."]
    assert (failures, versions, number) == ([], ["2"], 2.0)
    assert other.num_loads == 1


def test_changed_files_of_a_version_are_read_again_and_others_are_not():
    folder = Folder("news", v1=1, v2=2)
    changes, _, versions, number = reloaded(folder, lambda: folder.numbers.update({"2": 5}))
    assert changes == ["Reloaded: news answers with version 2, 1."]
    assert (versions, number, folder.num_loads) == (["2", "1"], 5.0, 3)


def test_a_reload_without_news_says_nothing():
    folder = Folder("news", v1=1)
    assert reloaded(folder, lambda: None) == ([], [], ["1"], 1.0)
    assert folder.num_loads == 1


def test_what_cannot_be_read_leaves_the_old_and_is_told_in_a_line():
    folder = Folder("news", v1=1)

    def change():
        folder.numbers = {"2": 2}
        folder.broken = {"2"}

    failure = "Not reloaded: news, version 2. Expected a LiteRT file."
    assert reloaded(folder, change) == ([], [failure], ["1"], 1.0)
    # The number of versions stays: one broken, one new, one old.
    folder = Folder("news", v1=1, v2=2)

    def change_two():
        folder.numbers = {"3": 3, "10": 10}
        folder.broken = {"10"}

    changes, failures, versions, number = reloaded(folder, change_two)
    assert changes == ["Reloaded: news answers with version 3, 2."]
    assert failures == ["Not reloaded: news, version 10. Expected a LiteRT file."]
    assert (versions, number) == (["3", "2"], 3.0)


def test_a_folder_that_is_gone_leaves_the_old():
    folder = Folder("news", v1=1)
    failure = "Not reloaded: news. Expected a folder news."
    assert reloaded(folder, folder.numbers.clear) == ([], [failure], ["1"], 1.0)


def test_the_old_version_answers_what_it_took_while_the_new_answers_already():
    folder = Folder("news", v1=1)
    models = Models([folder], QueueLimits(batch_size=1))

    async def run():
        async with models.running():
            old = models.find("news")
            folder.made["1"].gate.clear()
            taken = [asyncio.create_task(old.batcher.predict(["rain"])) for _ in range(3)]
            await asyncio.sleep(0)
            folder.numbers = {"2": 2}
            reload = models.reload()
            while models.find("news") is old:
                await asyncio.sleep(0.001)
            new = await models.find("news").batcher.predict(["rain"])
            is_waiting = not reload.done()
            folder.made["1"].gate.set()
            await reload
            with pytest.raises(StoppingError, match=r"^The server is stopping"):
                await old.batcher.predict(["rain"])
            return new, is_waiting, await asyncio.gather(*taken)

    new, is_waiting, answers = asyncio.run(run())
    assert (new.tolist(), is_waiting) == ([[2.0]], True)
    assert [answer.tolist() for answer in answers] == [[[1.0]]] * 3
    assert models.num_answered == 4


def test_reloads_that_come_together_go_one_after_the_other():
    folder = Folder("news", v1=1)
    models = Models([folder], QueueLimits())

    async def run():
        async with models.running():
            folder.numbers = {"2": 2}
            return await asyncio.gather(*(models.reload() for _ in range(3)))

    found = asyncio.run(run())
    assert found == [(["Reloaded: news answers with version 2."], []), ([], []), ([], [])]


def test_a_server_that_stops_reloads_no_more():
    folder = Folder("news", v1=1)
    models = Models([folder], QueueLimits())

    async def run():
        async with models.running():
            folder.numbers = {"2": 2}
            # It has begun to read when the server is told to stop.
            reading = models.reload()
            await asyncio.sleep(0)
            models.refuse()
        return await reading, await models.reload()

    assert asyncio.run(run()) == (([], []), ([], []))
    assert models.versions("news") == ["1"]
