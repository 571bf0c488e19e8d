"""Exports a trained phase as a SavedModel for TensorFlow Serving, or its embedding for TensorFlow Lite."""

import os
import pathlib
import shutil

from lrdnn_base.files import replacing, write_text
from lrdnn_tf import runs
from lrdnn_tf.serving import signatures, tflite
from lrdnn_tf.serving.model_card import CARD_FILE, model_card, read_summary
from lrdnn_tf.serving.warmup import write_warmup_requests


def export(
    run_dir: str | os.PathLike, phase: str, export_dir: str | os.PathLike, weights: str = "last"
) -> pathlib.Path:
    """Writes the next version of a SavedModel, with warm-up requests and a model card, and returns its folder.

    The folder is written under a temporary name and then renamed, since TensorFlow Serving polls for new versions.

    Raises:
        InputError: The phase is missing or not complete, or has no such weights, "last" or "best".
    """
    model, config = runs.load_model(run_dir, phase, weights)
    card = model_card(runs.read_config(run_dir, phase), read_summary(run_dir, weights), weights)
    export_dir = pathlib.Path(export_dir)
    export_dir.mkdir(parents=True, exist_ok=True)
    versions = [int(path.name) for path in export_dir.iterdir() if path.name.isdigit()]
    version = export_dir / str(max(versions, default=0) + 1)
    temporary = export_dir / f"writing-{version.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    signatures.save(model, config, temporary)
    (temporary / CARD_FILE).parent.mkdir()
    write_text(temporary / CARD_FILE, card)
    if not write_warmup_requests(temporary, config.height, config.width):
        print("no warm-up requests, because tensorflow-serving-api is not installed: pip install -e '.[serving]'")
    return temporary.rename(version)


def export_tflite(
    run_dir: str | os.PathLike, phase: str, precision: str, out_dir: str | os.PathLike, weights: str = "last"
) -> pathlib.Path:
    """Writes the embedding of a phase as a .tflite file; see `lrdnn_tf.serving.tflite.to_tflite`.

    Returns:
        Its path, out_dir/PHASE-PRECISION.tflite, or PHASE-best-PRECISION.tflite for the best weights.

    Raises:
        InputError: The phase is missing or not complete, or has no such weights, or there is no such precision.
    """
    content = tflite.to_tflite(*runs.load_model(run_dir, phase, weights), precision)
    name = phase if weights == "last" else f"{phase}-{weights}"
    path = pathlib.Path(out_dir) / f"{name}-{precision}.tflite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
