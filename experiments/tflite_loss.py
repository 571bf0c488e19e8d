"""What TensorFlow Lite costs: size, time and accuracy of the converted models of a run, beside the original.

python -m experiments.tflite_loss --run_dir=runs/demo --data_dir=runs/demo/data/market1501
"""

import os
import pathlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from absl import flags
from tqdm import tqdm

from experiments.measure import timed
from lrdnn_base import command
from lrdnn_tf import runs
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluation.descriptors import describe, ranking_labels
from lrdnn_tf.evaluation.ranking import normalize, rank
from lrdnn_tf.export import export_tflite
from lrdnn_tf.serving.tflite import PRECISIONS, embed_by_tflite

_SPLITS = ("query", "gallery")


def measure(run_dir: str | os.PathLike, data_dir: str | os.PathLike, phases: list[str] | None = None) -> pd.DataFrame:
    """Converts phases of a run, evaluates each conversion on a dataset, and prints a table.

    Args:
        run_dir: Folder of the run; the conversions are written to run_dir/tflite.
        data_dir: Folder of a converted dataset.
        phases: The phases to convert; all trained ones when None.

    Returns:
        A row per phase and precision: phase, precision, size_mb, rank1 and mAP (0 to 1), mean and least cosine with the
        float32 embedding of the same image, and ms_an_image (TensorFlow Lite models only).

    Raises:
        InputError: A phase or the dataset is missing.
    """
    dataset = read_dataset(data_dir)
    rows = [row for phase in phases or runs.trained_phases(run_dir) for row in _phase_rows(run_dir, phase, dataset)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.4f", na_rep="-"))
    return table


def _phase_rows(run_dir: str | os.PathLike, phase: str, dataset: Dataset) -> Iterator[dict]:
    model, config = runs.load_model(run_dir, phase)
    exact = {split: normalize(describe(model, read_split(dataset, split)).embeddings) for split in _SPLITS}
    weights_mb = sum(variable.numpy().nbytes for variable in model.variables) / 1e6
    yield {"phase": phase, "precision": "float32", "size_mb": weights_mb} | _rates(dataset, exact)
    for precision in PRECISIONS:
        file = export_tflite(run_dir, phase, precision, pathlib.Path(run_dir) / "tflite")
        seconds, found = timed(partial(_embeddings, file, dataset, config.height, config.width))
        cosines = np.concatenate([np.sum(found[split] * exact[split], axis=1) for split in _SPLITS])
        yield (
            {"phase": phase, "precision": precision, "size_mb": file.stat().st_size / 1e6}
            | _rates(dataset, found)
            | {"cosine": cosines.mean(), "least_cosine": cosines.min(), "ms_an_image": 1000 * seconds / len(cosines)}
        )


def _embeddings(file: pathlib.Path, dataset: Dataset, height: int, width: int) -> dict[str, np.ndarray]:
    embeddings = {}
    for split in _SPLITS:
        batches = read_split(dataset, split).batches(height, width, 64)
        shown = tqdm(batches, desc=f"  {file.name} {split}", unit="batch", disable=None)
        embeddings[split] = np.concatenate([embed_by_tflite(file, images.numpy()) for images in shown])
    return embeddings


def _rates(dataset: Dataset, embeddings: dict[str, np.ndarray]) -> dict[str, float]:
    labels = [ranking_labels(read_split(dataset, split)) for split in _SPLITS]
    ranking = rank(embeddings["query"], embeddings["gallery"], *labels)
    return {"rank1": ranking.rank1, "mAP": ranking.mean_ap}


def main() -> None:
    measure(flags.FLAGS.run_dir, flags.FLAGS.data_dir, flags.FLAGS.phases)


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/demo.")
    flags.DEFINE_string("data_dir", None, "A dataset, as data_prep converted it.")
    flags.DEFINE_list("phases", None, "Phases to convert, separated by commas. Default: all trained ones.")
    flags.mark_flags_as_required(["run_dir", "data_dir"])
    command.run(main)
