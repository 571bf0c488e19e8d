"""The whole road on the built-in dataset, on a machine without a GPU: python -m experiments.demo

Every step is a command that a person could type, and is printed before it runs. Networks, images and schedules
are small; with the real datasets the same commands, less the flags for small machines, are the paper's.
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


@dataclasses.dataclass(frozen=True)
class Size:
    """What a small machine can do in a few minutes: people and images to render, network and epochs to train."""

    identities: int = 60
    pose_images: int = 700
    pose_width: float = 0.25
    pose_epochs: int = 18
    identity_epochs: int = 30
    attributes_epochs: int = 15
    fusion_epochs: int = 12
    bilinear_dim: int = 2048


def commands(run_dir: pathlib.Path, size: Size, started_at: float) -> Iterator[str]:
    """The commands of the demo, in order; each may look at what those before it wrote."""
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
    yield f"{train} --phase=attributes --epochs={size.attributes_epochs} --learning_rate=1e-3"
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
    """Runs the demo from the start; what an earlier one left in run_dir is removed.

    Raises:
        InputError: A command failed; its own message stands above.
    """
    shutil.rmtree(run_dir, ignore_errors=True)
    started_at = time.time()
    for step in commands(run_dir, size, started_at):
        print(f"\n[{time.time() - started_at:4.0f} s] python -m {step}", flush=True)
        if subprocess.run([sys.executable, "-m", *shlex.split(step)]).returncode:
            raise InputError(f"the demo stopped at: python -m {step}")
    print(f"\ndone in {(time.time() - started_at) / 60:.1f} minutes: open {run_dir}/report/index.html")


def main() -> None:
    args = flags.FLAGS
    size = Size(**{field.name: args[field.name].value for field in dataclasses.fields(Size)})
    run(pathlib.Path(args.run_dir), size)


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", "runs/demo", "Where everything goes; an earlier demo there is removed.")
    for field in dataclasses.fields(Size):
        define = flags.DEFINE_float if field.type is float else flags.DEFINE_integer
        define(field.name, field.default, f"{field.name.replace('_', ' ')}; make it smaller for a quick look.")
    command.run(main)
