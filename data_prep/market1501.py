"""Converts Market-1501, or a dataset in its layout and with its attribute labels, to TFRecords.

    python -m data_prep.market1501 --raw_dir=Market-1501-v15.09.15 --out_dir=data/market1501

File names are `0002_c1s1_000451_03.jpg`: identity, camera and sequence, frame, box. Identity -1 is junk (a bad
detection, to be ignored) and 0000 a distractor (somebody whom no query asks for).
"""

# First, so that TensorFlow's start-up notes stay off the screen.
from lrdnn_tf import binary  # isort: skip

import os
import re
from typing import Any

from absl import flags

from data_prep import reid
from lrdnn_tf import attributes as attribute_tasks

# The counts are those of the release of Zheng et al., "Scalable Person Re-identification: A Benchmark" (2015).
MARKET1501 = reid.Source(
    name="market1501",
    file_name=re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>[1-9]\d*)s\d+_\d+_\d+\.(jpg|jpeg|png)", re.IGNORECASE),
    label_file="market_attribute.mat",
    tasks=attribute_tasks.MARKET1501,
    published_counts={
        "train": {"examples": 12936, "identities": 751},
        "query": {"examples": 3368, "identities": 750},
        "gallery": {"examples": 15913, "identities": 750, "junk": 3819, "distractors": 2798},
    },
)


def convert(
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    attributes: str | os.PathLike | None = None,
    name: str = MARKET1501.name,
    shards: int = 4,
    skip_bad_images: bool = False,
) -> dict[str, Any]:
    """Converts Market-1501; see data_prep.reid.convert_folders."""
    return reid.convert_folders(
        MARKET1501, "data_prep.market1501", raw_dir, out_dir, attributes, name, shards, skip_bad_images
    )


def main() -> None:
    args = flags.FLAGS
    splits = convert(args.raw_dir, args.out_dir, args.attributes, args.name, args.shards, args.skip_bad_images)
    print(reid.table(splits))


if __name__ == "__main__":
    flags.DEFINE_string("raw_dir", None, "folder with bounding_box_train, query, bounding_box_test", required=True)
    flags.DEFINE_string("out_dir", None, "folder to make; must not exist", required=True)
    flags.DEFINE_string("attributes", None, "market_attribute.mat; looked for in raw_dir when not given")
    flags.DEFINE_string("name", MARKET1501.name, "name of the dataset; another one is not held to published counts")
    flags.DEFINE_integer("shards", 4, "TFRecord files per split", lower_bound=1)
    flags.DEFINE_bool("skip_bad_images", False, "leave out images that do not decode, and list them in dataset.json")
    binary.run(main)
