"""The full pipeline on the built-in dataset, on a machine without a GPU: python -m experiments.demo

Every step is a command that can be typed by hand, and is printed before it runs. Networks, images and schedules are
small; on the real datasets the same commands, without the flags for small machines, are the paper's schedule.
"""

import dataclasses
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_base.options import option


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of the demo. The defaults take a few minutes on a small machine; smaller values give a quick look."""

    identities: int = option(60, "People to render for training, and as many for testing.")
    pose_images: int = option(700, "Images to render for the pose network.")
    pose_width: float = option(0.25, "Factor on the channels of the pose network.")
    pose_epochs: int = option(18, "Epochs of the pose network.")
    identity_epochs: int = option(30, "Epochs of the identity phase.")
    attributes_epochs: int = option(15, "Epochs of the attributes phase.")
    fusion_epochs: int = option(12, "Epochs of the fusion phase.")
    bilinear_dim: int = option(2048, "Length of the fused descriptor.")


def commands(run_dir: pathlib.Path, size: Size, started_at: float) -> Iterator[str]:
    """The commands of the demo, in their order. A command may depend on files that earlier ones wrote."""
    raw, people, poses = run_dir / "raw", run_dir / "data/market1501", run_dir / "data/coco"
    train = f"lrdnn_tf.train --run_dir={run_dir} --data_dir={people}"
    yield (
        f"data_prep.rendered --out_dir={raw} --train_identities={size.identities} --test_identities={size.identities}"
        f" --pose_images={size.pose_images}"
    )
    yield f"data_prep.market1501 --raw_dir={raw}/market1501 --out_dir={people} --name=rendered"
    yield f"data_prep.coco --raw_dir={raw}/coco --out_dir={poses} --name=rendered"
    yield (
        f"lrdnn_tf.pretrain_pose --run_dir={run_dir} --data_dir={poses} --height=128 --width=64"
        f" --pose_width={size.pose_width} --imagenet_weights=none --epochs={size.pose_epochs} --batch_size=4"
        " --learning_rate=5e-4 --decay=0.95 --rotation=10"
    )
    yield (
        f"{train} --phase=identity --backbone=small --height=128 --width=64 --epochs={size.identity_epochs}"
        " --learning_rate=1e-3"
    )
    yield f"{train} --phase=attributes --epochs={size.attributes_epochs}"
    yield (
        f"{train} --phase=fusion --epochs={size.fusion_epochs} --bilinear_dim={size.bilinear_dim}"
        " --bilinear_method=outer_product"
    )
    yield f"lrdnn_tf.evaluate --run_dir={run_dir} --data_dir={people} --started_at={started_at:.0f}"
    yield f"lrdnn_tf.export --run_dir={run_dir} --phase=fusion"
    query = min((raw / "market1501/query").glob("*.jpg"))
    yield (
        f"lrdnn_tf.search --model={run_dir}/export/1 --gallery={raw}/market1501/bounding_box_test --query={query}"
        f" --out_dir={run_dir}/search"
    )


def run(run_dir: pathlib.Path, size: Size) -> None:
    """Runs the demo from scratch; the previous contents of run_dir are removed.

    Raises:
        InputError: A command failed, after it printed its own message.
    """
    shutil.rmtree(run_dir, ignore_errors=True)
    started_at = time.time()
    for step in commands(run_dir, size, started_at):
        print(f"\n[{time.time() - started_at:4.0f} s] python -m {step}", flush=True)
        if subprocess.run([sys.executable, "-m", *shlex.split(step)]).returncode:
            raise InputError(f"the demo stopped at: python -m {step}")
    print(f"\ndone in {(time.time() - started_at) / 60:.1f} minutes: open {run_dir}/report/index.html")


def main() -> None:
    run(pathlib.Path(flags.FLAGS.run_dir), Size(**command.read_flags(Size)))


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", "runs/demo", "Folder of the demo; an earlier demo in it is removed.")
    command.define_flags(Size)
    command.run(main)
