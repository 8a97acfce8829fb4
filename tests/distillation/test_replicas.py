"""Two processes that train together, beside one that trains alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.distillation import replicas_job
from tests.own_network import own_network
from tfkd.cluster import TF_CONFIG, loopback_addresses, tf_config
from tfkd.process import run_fresh

SECONDS = 120.0


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each of two processes found."""
    job = {"folder": str(tmp_path_factory.mktemp("together"))}

    def run(rank):
        own = {TF_CONFIG: tf_config(addresses, rank), "TF_NUM_INTRAOP_THREADS": "1"}
        return run_fresh(replicas_job.__name__, job, "to train together", SECONDS, own)

    with own_network(), ThreadPoolExecutor(2) as pool:
        addresses = loopback_addresses(2)
        return list(pool.map(run, range(2)))


def test_each_knows_its_place_and_hears_the_first(told):
    assert [found["place"] for found in told] == [[0, 2], [1, 2]]
    assert [found["heard"] for found in told] == ["größer", "größer"]


def test_other_numbers_than_the_first_has_end_all_of_them(told):
    end = ". Give all machines the same shared folder."
    assert [found["disagreement"] for found in told] == [
        f"Expected all processes of a training to count alike. Received: [7, {rank}] in process "
        f"{rank}, [7, 0] in the first{end}"
        for rank in (0, 1)
    ]


def test_rows_are_shared_and_losses_and_gradients_added(told):
    # Process 0 has rows 0, 2, 4 of five, process 1 rows 1 and 3.
    parts, dense = {"loss": 1.0, "rows": 60.0}, [1.0] * 3
    table = [[2.0, 2.0], [1.0, 1.0], *[[0.0, 0.0]] * 7]
    first, second = (found["sums"] for found in told)
    assert (first[0], second[0]) == ([0, 2, 4], [1, 3])
    for _, found_parts, found_dense, found_table in (first, second):
        assert found_parts == pytest.approx(parts)
        assert found_dense == pytest.approx(dense)
        assert found_table == table


def test_two_processes_take_the_steps_of_one(told, tmp_path):
    alone = replicas_job.trained(tmp_path)
    first, second = told
    start = [np.asarray(each) for each in replicas_job.student().trainable_variables]
    assert first["best_epoch"] == second["best_epoch"] == alone["best_epoch"] == 2
    for before, one, two, mine in zip(
        start, first["weights"], second["weights"], alone["weights"], strict=True
    ):
        assert one == two
        assert np.abs(np.array(mine) - before).max() > 0.01
        np.testing.assert_allclose(one, mine, rtol=0, atol=1e-5)
    # Only the first keeps an account.
    assert second["history"] == []
    for one, mine in zip(first["history"], alone["history"], strict=True):
        assert one == pytest.approx(mine, abs=1e-5)
