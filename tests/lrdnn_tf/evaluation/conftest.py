"""An evaluation of all three phases, shared by the tests of the evaluation and of its report."""

import time

import pytest

from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluate import evaluate
from lrdnn_tf.evaluation.descriptors import ranking_labels
from lrdnn_tf.evaluation.results import Settings

SMALL = Settings(k1=5, k2=2)  # the gallery has 12 images


@pytest.fixture(scope="session")
def evaluated(trained_run, tiny_dataset, tmp_path_factory):
    """The summary of an evaluation of all three phases, and the folder of its report."""
    report_dir = tmp_path_factory.mktemp("evaluated") / "report"
    started = time.time() - 1000
    summary = evaluate(
        trained_run, tiny_dataset.path, settings=SMALL, batch_size=5, report_dir=report_dir, started_at=started
    )
    return summary, report_dir


@pytest.fixture(scope="session")
def splits(tiny_dataset):
    """Query and gallery."""
    return [read_split(tiny_dataset, name) for name in ("query", "gallery")]


@pytest.fixture(scope="session")
def labels(splits):
    """The labels of query and gallery."""
    return [ranking_labels(split) for split in splits]


@pytest.fixture(scope="session")
def page(evaluated):
    return (evaluated[1] / "index.html").read_text(encoding="utf-8")
