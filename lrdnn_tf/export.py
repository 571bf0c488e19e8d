"""Exports a trained phase for TF Serving: python -m lrdnn_tf.export --run_dir=runs/NAME --phase=fusion"""

import os
import pathlib
import shutil

from absl import flags

from lrdnn_tf import binary, runs
from lrdnn_tf.serving import signatures
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


def main() -> None:
    args = flags.FLAGS
    version = export(args.run_dir, args.phase, args.export_dir or os.path.join(args.run_dir, "export"))
    print(f"exported {args.phase} to {version}")


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME.")
    flags.DEFINE_enum("phase", "fusion", runs.PHASES, "The trained phase to export.")
    flags.DEFINE_string("export_dir", None, "Holds one numbered folder per version. Default RUN_DIR/export.")
    flags.mark_flags_as_required(["run_dir"])
    binary.run(main)
