import json

import numpy as np
import pytest

from tfkd.evaluation import metrics

NAMES = ["calm", "busy", "loud"]
# Six predictions 0 1 1 1 2 0 for the labels 0 0 1 1 2 2.
LABELS = np.array([0, 0, 1, 1, 2, 2])
LOGITS = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2, 0]] * 2

ODDS = np.log(3.0)  # A sigmoid of it is 0.75.
MULTI_LABELS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
MULTI_LOGITS = ODDS * np.array([[1, -1, -1], [-1, -1, -1], [-1, 1, 1]])


def log_probabilities(*rows):
    return np.log(np.array(rows))


class TestSingleLabel:
    def test_six_predictions_by_hand(self):
        figures = metrics.evaluate("single_label", LOGITS, LABELS, NAMES)
        assert figures["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
        assert figures["accuracy"] == pytest.approx(4 / 6)
        assert figures["f1_per_class"] == pytest.approx(
            {"calm": 1 / 2, "busy": 4 / 5, "loud": 2 / 3}
        )
        assert figures["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
        assert figures["mcc"] == pytest.approx(12 / np.sqrt(22 * 24))
        assert set(figures) == {
            "accuracy",
            "macro_f1",
            "f1_per_class",
            "mcc",
            "confusion_matrix",
            "nll",
            "ece",
            "brier",
        }

    def test_figures_are_plain_json(self):
        figures = metrics.evaluate("single_label", LOGITS, LABELS, NAMES, LOGITS)
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures
        assert figures["agreement"] == 1.0

    @pytest.mark.parametrize("seed", range(5))
    def test_order_of_rows_does_not_matter(self, seed):
        random = np.random.default_rng(seed)
        logits, teacher = random.normal(size=(2, 50, 3))
        labels = random.integers(0, 3, 50)
        order = random.permutation(50)
        before = metrics.evaluate("single_label", logits, labels, NAMES, teacher)
        after = metrics.evaluate(
            "single_label", logits[order], labels[order], NAMES, teacher[order]
        )
        assert after.pop("f1_per_class") == pytest.approx(before.pop("f1_per_class"))
        assert after.pop("confusion_matrix") == before.pop("confusion_matrix")
        assert after == pytest.approx(before)

    def test_f1_of_the_second_of_two_classes(self):
        logits = np.eye(2)[[1, 1, 1, 0]]
        figures = metrics.evaluate("single_label", logits, np.array([1, 0, 1, 1]), ["no", "yes"])
        assert figures["f1"] == pytest.approx(2 * 2 / (3 + 3))
        assert figures["f1"] == figures["f1_per_class"]["yes"]

    def test_a_class_that_never_occurs_counts_as_zero(self):
        figures = metrics.evaluate("single_label", np.eye(3)[[0, 1]], np.array([0, 1]), NAMES)
        assert figures["f1_per_class"] == {"calm": 1.0, "busy": 1.0, "loud": 0.0}
        assert figures["macro_f1"] == pytest.approx(2 / 3)
        assert figures["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]

    def test_constant_prediction(self):
        figures = metrics.evaluate("single_label", np.tile([1.0, 0, 0], (6, 1)), LABELS, NAMES)
        assert figures["mcc"] == 0.0
        assert figures["accuracy"] == pytest.approx(1 / 3)

    def test_one_row(self):
        figures = metrics.evaluate("single_label", np.eye(3)[[0]], np.array([0]), NAMES)
        assert figures["accuracy"] == 1.0
        assert figures["mcc"] == 0.0


class TestMultiLabel:
    def test_nine_decisions_by_hand(self):
        figures = metrics.evaluate("multi_label", MULTI_LOGITS, MULTI_LABELS, NAMES, -MULTI_LOGITS)
        assert figures == {
            "micro_f1": pytest.approx(4 / 6),
            "macro_f1": pytest.approx(2 / 3),
            "jaccard": pytest.approx((1 / 2 + 1 + 1 / 2) / 3),
            "f1_per_class": {"calm": 1.0, "busy": 1.0, "loud": 0.0},
            "nll": pytest.approx(-(7 * np.log(0.75) + 2 * np.log(0.25)) / 9),
            "ece": pytest.approx(7 / 9 - 0.75),
            "brier": pytest.approx((7 * 0.25**2 + 2 * 0.75**2) / 9),
            "agreement": 0.0,
        }

    @pytest.mark.parametrize("kind", [bool, np.float32, np.int64])
    def test_labels_of_any_type_of_number(self, kind):
        figures = metrics.evaluate("multi_label", MULTI_LOGITS, MULTI_LABELS.astype(kind), NAMES)
        assert figures["micro_f1"] == pytest.approx(4 / 6)
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures

    def test_nothing_true_and_nothing_predicted(self):
        figures = metrics.evaluate("multi_label", np.full((2, 3), -9.0), np.zeros((2, 3)), NAMES)
        assert (figures["jaccard"], figures["micro_f1"], figures["macro_f1"]) == (1.0, 0.0, 0.0)

    def test_one_label(self):
        logits, labels = np.array([[2.0], [-2.0], [2.0]]), np.array([[1], [0], [0]])
        figures = metrics.evaluate("multi_label", logits, labels, ["loud"])
        assert figures["f1_per_class"] == pytest.approx({"loud": 2 / 3})
        assert figures["micro_f1"] == pytest.approx(2 / 3)
        assert figures["jaccard"] == pytest.approx(2 / 3)

    def test_agreement_counts_labels_not_rows(self):
        other = MULTI_LOGITS.copy()
        other[0, 0] *= -1
        assert metrics.agreement("multi_label", MULTI_LOGITS, other) == pytest.approx(8 / 9)

    def test_thresholds_decide_and_leave_probabilities_alone(self):
        half = metrics.evaluate("multi_label", MULTI_LOGITS, MULTI_LABELS, NAMES, MULTI_LOGITS)
        # Probabilities are 0.25 and 0.75: the first label is given to all, the last to none.
        thresholds = [0.2, 0.5, 0.75]
        figures = metrics.evaluate(
            "multi_label", MULTI_LOGITS, MULTI_LABELS, NAMES, MULTI_LOGITS, thresholds, thresholds
        )
        assert figures["f1_per_class"] == {"calm": 0.5, "busy": 1.0, "loud": 0.0}
        assert figures["micro_f1"] == pytest.approx(2 * 2 / (3 + 4))
        assert figures["jaccard"] == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
        assert figures["agreement"] == 1.0
        assert {name: figures[name] for name in ("nll", "ece", "brier")} == {
            name: half[name] for name in ("nll", "ece", "brier")
        }

    def test_models_agree_each_at_its_own_thresholds(self):
        # The teacher is less sure by the same step everywhere, and so are its thresholds.
        arguments = "multi_label", MULTI_LOGITS, MULTI_LOGITS - 2.0
        assert metrics.agreement(*arguments) == pytest.approx(6 / 9)
        lower = metrics.probabilities("multi_label", np.array([[-2.0]]))[0]
        assert metrics.agreement(*arguments, teacher_thresholds=lower) == 1.0


class TestRegression:
    def test_four_scores_by_hand(self):
        scores, labels = np.array([[1.0], [2], [3], [4]]), np.array([2.0, 4, 6, 9])
        figures = metrics.evaluate("regression", scores, labels, ["score"], scores)
        assert figures == {
            "pearson": pytest.approx(11.5 / np.sqrt(5 * 26.75)),
            "spearman": pytest.approx(1.0),
            "mse": pytest.approx(9.75),
            "mae": pytest.approx(2.75),
        }
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures

    @pytest.mark.parametrize("constant", [0.0, 0.1, 3.7, 1e6])
    def test_correlation_with_a_constant_is_zero(self, constant):
        scores = np.full((4, 1), constant, dtype=np.float32)
        figures = metrics.evaluate("regression", scores, np.array([1.0, 2, 3, 4]), ["score"])
        assert (figures["pearson"], figures["spearman"]) == (0.0, 0.0)

    def test_nearly_constant_scores_give_a_number(self):
        scores = 1e6 + np.array([[0.0], [1e-9], [2e-9], [4e-9]])
        figures = metrics.evaluate("regression", scores, np.array([1.0, 2, 3, 4]), ["score"])
        assert figures["pearson"] == 0.0

    def test_one_row(self):
        figures = metrics.evaluate("regression", np.array([[2.0]]), np.array([3.0]), ["score"])
        assert figures == {"pearson": 0.0, "spearman": 0.0, "mse": 1.0, "mae": 1.0}


class TestNegativeLogLikelihood:
    def test_closed_form(self):
        logits = log_probabilities([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
        found = metrics.negative_log_likelihood("single_label", logits, np.array([0, 1]))
        assert found == pytest.approx(-(np.log(0.7) + np.log(0.25)) / 2)

    @pytest.mark.parametrize("gap", [60.0, 800.0, 1e5])
    def test_logits_far_apart_are_exact(self, gap):
        logits = np.array([[gap, 0.0]])
        assert metrics.negative_log_likelihood("single_label", logits, np.array([1])) == gap
        assert metrics.negative_log_likelihood("single_label", logits, np.array([0])) < 1e-25

    @pytest.mark.parametrize("gap", [60.0, 800.0, 1e5])
    def test_label_logits_far_from_zero_are_exact(self, gap):
        found = metrics.negative_log_likelihood("multi_label", np.array([[gap]]), np.array([[0]]))
        assert found == gap

    def test_a_constant_added_to_the_logits_changes_nothing(self):
        moved = metrics.negative_log_likelihood("single_label", LOGITS + 1000.0, LABELS)
        still = metrics.negative_log_likelihood("single_label", LOGITS, LABELS)
        assert moved == pytest.approx(still, abs=1e-12)

    def test_sure_and_right_is_plain_zero(self):
        found = metrics.negative_log_likelihood(
            "single_label", np.array([[900.0, 0]]), np.array([0])
        )
        assert str(found) == "0.0"


class TestExpectedCalibrationError:
    @pytest.mark.parametrize(("num_right", "expected"), [(8, 0.0), (5, 0.3), (10, 0.2), (0, 0.8)])
    def test_ten_rows_of_probability_0_8(self, num_right, expected):
        logits = np.tile(np.log([0.8, 0.2]), (10, 1))
        labels = np.array([0] * num_right + [1] * (10 - num_right))
        found = metrics.expected_calibration_error("single_label", logits, labels)
        assert found == pytest.approx(expected, abs=1e-12)

    def test_bins_are_weighted_with_their_rows(self):
        logits = log_probabilities([0.6, 0.4], *[[0.9, 0.1]] * 3)
        found = metrics.expected_calibration_error("single_label", logits, np.array([0, 0, 0, 1]))
        assert found == pytest.approx(0.4 / 4 + abs(0.9 - 2 / 3) * 3 / 4)

    def test_rows_of_one_bin_make_up_for_each_other(self):
        logits = log_probabilities([0.82, 0.18], [0.86, 0.14])
        found = metrics.expected_calibration_error("single_label", logits, np.array([1, 0]))
        assert found == pytest.approx(0.84 - 0.5)

    def test_a_bin_holds_its_upper_edge(self):
        logits = log_probabilities([0.8, 0.2], [0.82, 0.18])
        found = metrics.expected_calibration_error("single_label", logits, np.array([0, 1]))
        assert found == pytest.approx((0.2 + 0.82) / 2)

    def test_number_of_bins(self):
        logits = log_probabilities([0.8, 0.2], [0.82, 0.18])
        labels = np.array([0, 1])
        found = metrics.expected_calibration_error("single_label", logits, labels, num_bins=1)
        assert found == pytest.approx(0.81 - 0.5)

    def test_probabilities_of_0_5_and_1_have_a_bin(self):
        found = metrics.expected_calibration_error(
            "multi_label", np.array([[0.0, 900.0, -900.0]]), np.array([[0, 1, 0]])
        )
        assert found == pytest.approx(0.5 / 3)

    def test_labels_drawn_from_the_probabilities_are_calibrated(self):
        random = np.random.default_rng(0)
        chance = random.uniform(0.05, 0.95, 40_000)
        labels = (random.random(40_000) < chance).astype(np.int64)
        logits = np.log(np.stack([1 - chance, chance], axis=1))
        assert metrics.expected_calibration_error("single_label", logits, labels) < 0.01
        assert metrics.expected_calibration_error("single_label", 4 * logits, labels) > 0.1


class TestBrierScore:
    def test_sum_over_classes(self):
        logits = log_probabilities([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
        found = metrics.brier_score("single_label", logits, np.array([0, 1]))
        assert found == pytest.approx((0.14 + 0.875) / 2)

    def test_sure_and_wrong_is_two(self):
        assert metrics.brier_score("single_label", np.array([[99.0, 0]]), np.array([1])) == 2.0


class TestProbabilities:
    def test_softmax_and_sigmoid(self):
        logits = log_probabilities([0.7, 0.2, 0.1])
        assert metrics.probabilities("single_label", logits + 500) == pytest.approx(np.exp(logits))
        assert metrics.probabilities("multi_label", np.array([[ODDS, -ODDS]])).tolist() == [
            pytest.approx([0.75, 0.25])
        ]

    def test_regression_has_none(self):
        message = (
            "^Expected `task` to be one of single_label, multi_label. Received: 'regression'.$"
        )
        with pytest.raises(ValueError, match=message):
            metrics.probabilities("regression", LOGITS)

    def test_equal_logits_go_to_the_first_class(self):
        assert metrics.decisions("single_label", np.zeros((1, 3))).tolist() == [0]
        assert metrics.decisions("multi_label", np.zeros((1, 3))).tolist() == [[0, 0, 0]]


class TestIsBetter:
    @pytest.mark.parametrize("metric", metrics.METRICS)
    def test_every_metric_has_a_side(self, metric):
        up = metrics.METRICS[metric].higher_is_better
        assert metrics.is_better(metric, 0.9, 0.8) is up
        assert metrics.is_better(metric, 0.8, 0.9) is not up
        assert not metrics.is_better(metric, 0.8, 0.8)

    def test_any_number_is_better_than_nan(self):
        nan = float("nan")
        assert metrics.is_better("accuracy", 0.0, nan)
        assert metrics.is_better("nll", 99.0, nan)
        assert not metrics.is_better("nll", nan, 99.0)
        assert not metrics.is_better("nll", nan, nan)

    def test_losses_are_the_ones_that_fall(self):
        falling = {name for name, entry in metrics.METRICS.items() if not entry.higher_is_better}
        assert falling == {"nll", "ece", "brier", "mse", "mae"}

    def test_every_figure_is_in_the_table(self):
        for task, logits, labels in (
            ("single_label", np.eye(2), np.array([0, 1])),
            ("multi_label", np.eye(2), np.eye(2)),
        ):
            figures = metrics.evaluate(task, logits, labels, ["no", "yes"], logits)
            assert set(figures) - set(metrics.METRICS) <= {"f1_per_class", "confusion_matrix"}

    def test_unknown_metric(self):
        message = (
            r"^Expected `metric` to be one of accuracy, .*, mae\. Received: metric='acuracy'\.$"
        )
        with pytest.raises(ValueError, match=message):
            metrics.is_better("acuracy", 1.0, 0.0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("task", "logits", "labels", "names", "message"),
        [
            (
                "ranking",
                LOGITS,
                LABELS,
                NAMES,
                r"^Expected `task` to be one of single_label, multi_label, regression\. "
                r"Received: 'ranking'\.$",
            ),
            (
                "single_label",
                LOGITS[0],
                LABELS,
                NAMES,
                r"^Expected logits of shape \[num_rows, num_outputs\] with at least one row\. "
                r"Received: shape \(3,\)\.$",
            ),
            ("single_label", LOGITS[:0], LABELS[:0], NAMES, r"Received: shape \(0, 3\)\.$"),
            (
                "single_label",
                LOGITS,
                LABELS[:5],
                NAMES,
                r"^Expected labels of shape \(6,\) for single_label\. Received: shape \(5,\)\.$",
            ),
            (
                "single_label",
                LOGITS,
                LABELS + 1,
                NAMES,
                r"^Expected labels that are whole numbers from 0 to 2 for single_label\. "
                r"Received: 3 at row 4\.$",
            ),
            ("single_label", LOGITS, LABELS - 0.5, NAMES, r"Received: -0\.5 at row 0\.$"),
            (
                "single_label",
                LOGITS,
                LABELS,
                NAMES[:2],
                r"^Expected `label_names` to name the 3 outputs\. Received: 2 names\.$",
            ),
            (
                "single_label",
                LOGITS[:, :1],
                LABELS,
                ["calm"],
                r"^Expected logits of at least two columns for single_label\. Received: 1\.$",
            ),
            (
                "multi_label",
                LOGITS,
                LABELS,
                NAMES,
                r"^Expected labels of shape \(6, 3\) for multi_label\. Received: shape \(6,\)\.$",
            ),
            (
                "multi_label",
                MULTI_LOGITS,
                2 * MULTI_LABELS,
                NAMES,
                r"^Expected labels that are whole numbers from 0 to 1 for multi_label\. "
                r"Received: 2 at row 0\.$",
            ),
            (
                "regression",
                LOGITS,
                LABELS,
                NAMES,
                r"^Expected logits of one column and finite labels for regression\. "
                r"Received: 3 columns, labels \[\]\.$",
            ),
            (
                "regression",
                LOGITS[:1, :1],
                np.array([np.nan]),
                ["score"],
                r"Received: 1 columns, labels \[nan\]\.$",
            ),
        ],
    )
    def test_what_does_not_fit(self, task, logits, labels, names, message):
        with pytest.raises(ValueError, match=message):
            metrics.evaluate(task, logits, labels, names)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_logits_that_are_not_finite(self, bad):
        logits = LOGITS.copy()
        logits[[2, 4], 1] = bad
        message = (
            r"^Expected finite logits\. Received: 2 of 6 rows with NaN or infinity, "
            r"the first at row 2\.$"
        )
        with pytest.raises(ValueError, match=message):
            metrics.evaluate("single_label", logits, LABELS, NAMES)
        with pytest.raises(ValueError, match=message):
            metrics.agreement("single_label", LOGITS, logits)

    def test_teacher_of_another_shape(self):
        message = (
            r"^Expected `teacher_logits` of the logits' shape \(6, 3\)\. "
            r"Received: shape \(5, 3\)\.$"
        )
        with pytest.raises(ValueError, match=message):
            metrics.evaluate("single_label", LOGITS, LABELS, NAMES, LOGITS[:5])
