"""Retrieval of a model: mAP and rank-1 during its training, and descriptors for TensorBoard's projector after it."""

import csv
import os

import numpy as np
import tf_keras as keras
from tensorboard.plugins import projector

from lrdnn_tf import runs
from lrdnn_tf.data.split import Split
from lrdnn_tf.evaluation.descriptors import describe, ranking_labels
from lrdnn_tf.evaluation.ranking import rank


def retrieval_scores(model: keras.Model, query: Split, gallery: Split) -> dict[str, float]:
    """Retrieval of a model on a query and a gallery: {"mAP", "rank1"}, from 0 to 1.

    Raises:
        InputError: The splits cannot be ranked.
    """
    embeddings = [describe(model, split).embeddings for split in (query, gallery)]
    result = rank(*embeddings, ranking_labels(query), ranking_labels(gallery))
    return {"mAP": result.mean_ap, "rank1": result.rank1}


def project_gallery(run_dir: str | os.PathLike, phase: str, gallery: Split, images: int) -> None:
    """Writes the descriptors of the first gallery images into the phase's tensorboard/, for the projector.

    Records are sorted by name, so that these are all images of a few people, to be coloured by identity or camera.

    Args:
        run_dir, phase: A trained phase.
        gallery: The gallery split.
        images: Number of images; all when the gallery has fewer.
    """
    model, _ = runs.load_model(run_dir, phase)
    shown = gallery.head(images)
    folder = runs.phase_dir(run_dir, phase) / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "gallery.tsv", describe(model, shown).embeddings, fmt="%.5g", delimiter="\t")
    shown.labels[["identity", "camera", "path"]].to_csv(
        folder / "gallery_labels.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE, escapechar="\\"
    )
    config = projector.ProjectorConfig()
    config.embeddings.add(tensor_name="gallery", tensor_path="gallery.tsv", metadata_path="gallery_labels.tsv")
    projector.visualize_embeddings(str(folder), config)
