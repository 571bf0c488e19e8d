"""How well a model retrieves, in two numbers while it trains and as a picture in TensorBoard's projector after."""

import csv
import os

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorboard.plugins import projector

from lrdnn_tf import runs
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.pipeline import evaluation_batches, read_labels
from lrdnn_tf.evaluation.descriptors import describe
from lrdnn_tf.evaluation.ranking import rank
from lrdnn_tf.model.lrdnn import EMBEDDING

_BATCH = 64


def retrieval_scores(model: keras.Model, dataset: Dataset, batch_size: int = _BATCH) -> dict[str, float]:
    """{"mAP", "rank1"} of a model on the query and gallery splits of a dataset, from 0 to 1.

    Raises:
        InputError: A split is missing, or cannot be ranked.
    """
    query, gallery = (read_labels(dataset, split) for split in ("query", "gallery"))
    result = rank(
        describe(model, dataset, "query", batch_size).embeddings,
        describe(model, dataset, "gallery", batch_size).embeddings,
        query["identity"].to_numpy(),
        gallery["identity"].to_numpy(),
        query["camera"].to_numpy(),
        gallery["camera"].to_numpy(),
    )
    return {"mAP": result.mean_ap, "rank1": result.rank1}


def project_gallery(run_dir: str | os.PathLike, phase: str, dataset: Dataset, images: int) -> None:
    """Writes the descriptors of the first gallery images into the phase's tensorboard/, for the projector.

    Records are sorted by name, so these are all the images of few people, to be coloured by identity or camera.

    Args:
        run_dir, phase: A trained phase.
        dataset: Its gallery is described; nothing happens when it has none.
        images: How many, or all when there are fewer.
    """
    if "gallery" not in dataset.splits or not dataset.splits["gallery"].examples:
        return
    model, config = runs.load_model(run_dir, phase)
    batches = evaluation_batches(dataset, "gallery", config.height, config.width, min(_BATCH, images))
    wanted = batches.take(-(-images // _BATCH))
    describe_batch = tf.function(lambda batch: model(batch, training=False)[EMBEDDING])
    embeddings = np.concatenate([describe_batch(batch).numpy() for batch in wanted])[:images]
    folder = runs.phase_dir(run_dir, phase) / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "gallery.tsv", embeddings, fmt="%.5g", delimiter="\t")
    labels = read_labels(dataset, "gallery")[["identity", "camera", "path"]][: len(embeddings)]
    labels.to_csv(folder / "gallery_labels.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE, escapechar="\\")
    config = projector.ProjectorConfig()
    config.embeddings.add(tensor_name="gallery", tensor_path="gallery.tsv", metadata_path="gallery_labels.tsv")
    projector.visualize_embeddings(str(folder), config)
