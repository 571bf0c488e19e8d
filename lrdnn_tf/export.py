"""Exports a trained phase, for TensorFlow Serving or, with --tflite, for TensorFlow Lite.

python -m lrdnn_tf.export --run_dir=runs/NAME --phase=fusion [--tflite=float16]
"""

from absl import flags

from lrdnn_base import command
from lrdnn_tf import runs
from lrdnn_tf.evaluation.results import Settings
from lrdnn_tf.serving import tflite
from lrdnn_tf.serving.export import export, export_tflite


def main() -> None:
    args = flags.FLAGS
    if args.tflite:
        out_dir = args.export_dir or f"{args.run_dir}/tflite"
        path = export_tflite(args.run_dir, args.phase, args.tflite, out_dir, args.weights)
        print(f"exported {args.phase} to {path}, {path.stat().st_size / 1e6:.1f} MB")
    else:
        version = export(args.run_dir, args.phase, args.export_dir or f"{args.run_dir}/export", args.weights)
        print(f"exported {args.phase} to {version}")


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME.")
    flags.DEFINE_enum("phase", "fusion", runs.PHASES, "The trained phase to export.")
    flags.DEFINE_string("export_dir", None, "Output folder. Default RUN_DIR/export, with --tflite RUN_DIR/tflite.")
    flags.DEFINE_enum("tflite", None, tflite.PRECISIONS, "Export for TensorFlow Lite, with weights of this type.")
    command.define_flags(Settings, ["weights"])
    flags.mark_flags_as_required(["run_dir"])
    command.run(main)
