"""Exports a trained phase, for TF Serving or, with --tflite, for TensorFlow Lite.

python -m lrdnn_tf.export --run_dir=runs/NAME --phase=fusion [--tflite=float16]
"""

import os
import pathlib
import shutil

from absl import flags

from lrdnn_base import command
from lrdnn_tf import runs
from lrdnn_tf.serving import signatures, tflite
from lrdnn_tf.serving.model_card import CARD_FILE, model_card, read_summary
from lrdnn_tf.serving.warmup import write_warmup_requests


def export(run_dir: str | os.PathLike, phase: str, export_dir: str | os.PathLike) -> pathlib.Path:
    """Writes the next version of a SavedModel, with warm-up requests and a model card, and returns its folder.

    It is written under a temporary name and renamed, since TF Serving polls the folder.

    Raises:
        InputError: The phase is missing or not complete.
    """
    model, config = runs.load_model(run_dir, phase)
    card = model_card(runs.read_config(run_dir, phase), read_summary(run_dir))
    export_dir = pathlib.Path(export_dir)
    export_dir.mkdir(parents=True, exist_ok=True)
    versions = [int(path.name) for path in export_dir.iterdir() if path.name.isdigit()]
    version = export_dir / str(max(versions, default=0) + 1)
    temporary = export_dir / f"writing-{version.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    signatures.save(model, config, temporary)
    (temporary / CARD_FILE).parent.mkdir()
    (temporary / CARD_FILE).write_text(card)
    if not write_warmup_requests(temporary, config.height, config.width):
        print("without warm-up requests, for which tensorflow-serving-api is missing: pip install -e '.[serving]'")
    return temporary.rename(version)


def export_tflite(run_dir: str | os.PathLike, phase: str, precision: str, out_dir: str | os.PathLike) -> pathlib.Path:
    """Writes the embedding of a phase as out_dir/PHASE-PRECISION.tflite; see `lrdnn_tf.serving.tflite.to_tflite`.

    Raises:
        InputError: The phase is missing or not complete.
    """
    content = tflite.to_tflite(*runs.load_model(run_dir, phase), precision)
    path = pathlib.Path(out_dir) / f"{phase}-{precision}.tflite"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    return temporary.replace(path)


def main() -> None:
    args = flags.FLAGS
    if args.tflite:
        path = export_tflite(args.run_dir, args.phase, args.tflite, args.export_dir or f"{args.run_dir}/tflite")
        print(f"exported {args.phase} to {path}, {path.stat().st_size / 1e6:.1f} MB")
        return
    version = export(args.run_dir, args.phase, args.export_dir or os.path.join(args.run_dir, "export"))
    print(f"exported {args.phase} to {version}")


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME.")
    flags.DEFINE_enum("phase", "fusion", runs.PHASES, "The trained phase to export.")
    flags.DEFINE_string("export_dir", None, "Where it goes. Default RUN_DIR/export, with --tflite RUN_DIR/tflite.")
    flags.DEFINE_enum("tflite", None, tflite.PRECISIONS, "The embedding for TensorFlow Lite, its weights of this type.")
    flags.mark_flags_as_required(["run_dir"])
    command.run(main)
