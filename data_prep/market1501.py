"""Converts Market-1501, or a dataset in its layout and with its attribute labels, to TFRecords.

    python -m data_prep.market1501 --raw_dir=Market-1501-v15.09.15 --out_dir=data/market1501

File names are `0002_c1s1_000451_03.jpg`: identity, camera and sequence, frame, box. Identity -1 is junk (a bad
detection, to be ignored) and 0000 a distractor (somebody whom no query asks for).
"""

import os
import re
from typing import Any

from data_prep import reid
from lrdnn_tf import attributes as attribute_tasks

# The counts are those of the release of Zheng et al., "Scalable Person Re-identification: A Benchmark" (2015).
MARKET1501 = reid.Source(
    name="market1501",
    file_name=re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>[1-9]\d*)s\d+_\d+_\d+\.(jpg|jpeg|png)", re.IGNORECASE),
    file_name_example="0002_c1s1_000451_03.jpg",
    label_file="market_attribute.mat",
    tasks=attribute_tasks.MARKET1501,
    published_counts={
        "train": {"examples": 12936, "identities": 751},
        "query": {"examples": 3368, "identities": 750},
        "gallery": {"examples": 15913, "identities": 750, "junk": 3819, "distractors": 2798},
    },
)


def convert(raw_dir: str | os.PathLike, out_dir: str | os.PathLike, **options: Any) -> dict[str, Any]:
    """Converts Market-1501; see data_prep.reid.convert_folders."""
    return reid.convert_folders(MARKET1501, raw_dir, out_dir, **options)


if __name__ == "__main__":
    reid.run_converter(MARKET1501)
