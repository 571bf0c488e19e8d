"""Draws the synthetic dataset.

python -m data_prep.rendered --out_dir=data/rendered

The processes that draw import this file, too, and do without TensorFlow: it is imported only where this is the tool.
"""

if __name__ == "__main__":
    from lrdnn_base import command  # isort: skip, first, since it suppresses the start-up messages of TensorFlow

    from absl import flags

    from data_prep.rendered.dataset import Options, write_dataset

    def main() -> None:
        folder = write_dataset(**command.read_flags(Options))
        print(f"wrote {folder}/market1501 and {folder}/coco")

    command.define_flags(Options)
    flags.mark_flags_as_required(["out_dir"])
    command.run(main)
