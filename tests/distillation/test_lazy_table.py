import keras
import numpy as np
import pytest
import tensorflow as tf

from tfkd.distillation.distiller import Distiller
from tfkd.distillation.optimizer import FusedAdamW
from tfkd.distillation.schedule import WarmupSchedule

ROWS, WIDTH = 50, 4
RATE, DECAY = 0.05, 0.1


class Training:
    """A table that batches of a few rows pull towards random targets."""

    def __init__(self, is_lazy, rows=ROWS, seed=0, **options):
        generator = np.random.default_rng(seed)
        start = generator.normal(size=(rows, WIDTH)).astype("float32")
        self.table = keras.Variable(start, name="table")
        settings = {"weight_decay": DECAY, "global_clipnorm": 1.0, **options}
        rate = settings.pop("rate", WarmupSchedule(RATE, total_steps=300, warmup_steps=5))
        self.optimizer = FusedAdamW(rate, **settings)
        self.optimizer.build([self.table])
        if is_lazy:
            self.optimizer.let_unread_rows_wait(self.table)
        self.step = tf.function(self._step)

    def _step(self, rows, targets):
        if self.optimizer.lazy_table is not None:
            self.optimizer.lazy_table.catch_up(rows)
        with tf.GradientTape() as tape:
            read = tf.gather(self.table.value, rows)
            loss = tf.reduce_sum(tf.square(read - targets))
        gradient = tape.gradient(loss, self.table.value)
        self.optimizer.apply_gradients([(gradient, self.table)])
        return loss

    def run(self, steps, among=ROWS, seed=1):
        """Losses of steps that read six rows each, some of them twice."""
        generator = np.random.default_rng(seed)
        return [
            float(
                self.step(
                    generator.integers(0, among, 6),
                    generator.normal(size=(6, WIDTH)).astype("float32"),
                )
            )
            for _ in range(steps)
        ]

    def arrays(self):
        """Weights, momentum and velocity after all steps."""
        if self.optimizer.lazy_table is not None:
            self.optimizer.lazy_table.catch_up()
        index = self.optimizer._get_variable_index(self.table)
        moments = (self.optimizer._momentums[index], self.optimizer._velocities[index])
        return [np.array(variable.value) for variable in (self.table, *moments)]


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.0}, {"global_clipnorm": None}], ids=str)
def test_numbers_are_those_of_every_step(options):
    lazy, eager = Training(True, **options), Training(False, **options)
    np.testing.assert_allclose(lazy.run(200), eager.run(200), rtol=1e-4)
    for ours, theirs in zip(lazy.arrays(), eager.arrays(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def test_a_row_that_no_text_reads_only_decays():
    training = Training(True)
    before = np.array(training.table.value)
    training.run(100, among=10)
    table, momentum, velocity = training.arrays()
    rates = [float(training.optimizer._learning_rate(step)) for step in range(100)]
    kept = np.prod([1 - DECAY * rate for rate in rates])
    assert kept < 0.8
    np.testing.assert_allclose(table[10:], kept * before[10:], rtol=1e-5)
    assert not momentum[10:].any() and not velocity[10:].any()


def test_a_row_moves_on_by_what_was_left_of_its_momentum():
    """One read, then nine steps without: the sums of the module's formula, in float64."""
    training = Training(True, rate=0.01, global_clipnorm=None)
    training.step([0], tf.zeros([1, WIDTH]))
    weight, momentum, velocity = (array[0].astype("float64") for array in training.arrays())
    for _ in range(9):
        training.step([1], tf.zeros([1, WIDTH]))
    for number in range(2, 11):
        momentum, velocity = 0.9 * momentum, 0.999 * velocity
        rate = 0.01 * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        weight = (1 - 0.01 * DECAY) * weight - rate * momentum / (np.sqrt(velocity) + 1e-7)
    for found, expected in zip(training.arrays(), (weight, momentum, velocity), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_rows_wait_until_they_are_asked_for():
    training, eager = Training(True), Training(False)
    training.run(20, among=10)
    eager.run(20, among=10)
    waiting = np.array(training.table.value)[:10]
    expected = eager.arrays()[0][:10]
    assert np.abs(waiting - expected).max() > 1e-3
    training.optimizer.lazy_table.catch_up(tf.constant([[3, 7], [3, 3]]))
    found = np.array(training.table.value)[:10]
    np.testing.assert_allclose(found[[3, 7]], expected[[3, 7]], rtol=1e-4, atol=1e-6)
    others = [row for row in range(10) if row not in (3, 7)]
    np.testing.assert_array_equal(found[others], waiting[others])


def test_to_catch_up_twice_is_to_catch_up_once():
    training = Training(True)
    training.run(30)
    once = training.arrays()
    for ours, theirs in zip(training.arrays(), once, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_moments_that_vanish_stay_numbers():
    """After so many steps the shares are zero in float32."""
    training = Training(True, beta_1=0.4, beta_2=0.5)
    training.run(20)
    training.run(400, among=5)
    table, momentum, velocity = training.arrays()
    assert np.isfinite(table).all()
    assert not momentum[5:].any() and not velocity[5:].any()


def test_a_gradient_of_all_rows_is_a_step_of_all():
    """As a regularizer of the table gives it."""
    found = []
    for is_lazy in (True, False):
        training = Training(is_lazy)
        for scale in (1.0, -0.5, 2.0):
            gradient = scale * tf.ones([ROWS, WIDTH])
            training.optimizer.apply_gradients([(gradient, training.table)])
        found.append(training.arrays()[0])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_what_rows_owe_is_kept_with_the_optimizer():
    """A backup of the optimizer's variables goes on as if nothing had happened."""
    whole, first, second = Training(True), Training(True), Training(True, seed=9)
    whole.run(40)
    first.run(40)
    kept = [first.table, *first.optimizer.variables]
    for variable, value in zip([second.table, *second.optimizer.variables], kept, strict=True):
        variable.assign(value)
    whole.run(40, seed=2)
    second.run(40, seed=2)
    for ours, theirs in zip(second.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_distiller_brings_up_to_date_what_its_batch_reads():
    """Equal to Keras' AdamW on a model whose batches read a few of its tokens."""
    found = []
    for kind in (FusedAdamW, keras.optimizers.AdamW):
        keras.utils.set_random_seed(3)
        token_ids = keras.Input([None], dtype="int32", name="token_ids")
        vectors = keras.layers.Embedding(ROWS, WIDTH, name="token_embedding")(token_ids)
        pooled = keras.layers.GlobalAveragePooling1D()(vectors)
        student = keras.Model({"token_ids": token_ids}, keras.layers.Dense(2)(pooled))
        optimizer = kind(0.02, weight_decay=DECAY, global_clipnorm=0.5)
        optimizer.build(student.trainable_variables)
        table = student.get_layer("token_embedding").embeddings
        if kind is FusedAdamW:
            optimizer.let_unread_rows_wait(table)
        distiller = Distiller(student=student)
        distiller.compile(optimizer=optimizer)
        generator = np.random.default_rng(4)
        for _ in range(4):
            tokens = generator.integers(0, ROWS, (24, 3)).astype("int32")
            distiller.fit({"token_ids": tokens}, tokens[:, 0] % 2, batch_size=2, verbose=0)
        if kind is FusedAdamW:
            optimizer.lazy_table.catch_up()
        found.append([np.array(variable.value) for variable in student.variables])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5)
