"""Converts Market-1501, or a dataset with its layout and its attribute labels, to TFRecords.

    python -m data_prep.market1501 --raw_dir=Market-1501-v15.09.15 --out_dir=data/market1501

Images: Zheng et al., "Scalable Person Re-identification: A Benchmark" (ICCV 2015), in the folders bounding_box_train,
query and bounding_box_test. File names are `0002_c1s1_000451_03.jpg`: identity, camera and sequence, frame, box.
Identity -1 is junk (a wrong detection, which rankings ignore) and 0000 a distractor (a person whom no query shows).

Attribute labels: market_attribute.mat of Lin et al. (2017), see data_prep/attribute_labels.py.
"""

import functools
import re

from data_prep.attribute_labels import read_attribute_labels
from data_prep.folders import list_folders
from data_prep.source import Source, convert_source, run_converter
from lrdnn_tf.attributes import AttributeTask

_NO_YES = ("no", "yes")
_UPPER_COLOURS = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
_LOWER_COLOURS = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")

# Each task (Table 1 of the paper) and its field in the label file; a colour has a yes/no field for each class.
_LABELS = (
    (AttributeTask("gender", ("male", "female")), "gender"),
    (AttributeTask("hair", ("short", "long")), "hair"),
    (AttributeTask("sleeve", ("long", "short")), "up"),
    (AttributeTask("lower_length", ("long", "short")), "down"),
    (AttributeTask("lower_type", ("dress", "pants")), "clothes"),
    (AttributeTask("hat", _NO_YES), "hat"),
    (AttributeTask("backpack", _NO_YES), "backpack"),
    (AttributeTask("bag", _NO_YES), "bag"),
    (AttributeTask("handbag", _NO_YES), "handbag"),
    (AttributeTask("age", ("young", "teenager", "adult", "old")), "age"),
    (AttributeTask("upper_colour", _UPPER_COLOURS), tuple(f"up{colour}" for colour in _UPPER_COLOURS)),
    (AttributeTask("lower_colour", _LOWER_COLOURS), tuple(f"down{colour}" for colour in _LOWER_COLOURS)),
)
TASKS = tuple(task for task, _ in _LABELS)
LABEL_FIELDS = {task.name: field for task, field in _LABELS}

_FILE_NAME = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>[1-9]\d*)s\d+_\d+_\d+\.(jpg|jpeg|png)", re.IGNORECASE)

MARKET1501 = Source(
    name="market1501",
    list_crops=functools.partial(list_folders, file_name=_FILE_NAME, example="0002_c1s1_000451_03.jpg"),
    tasks=TASKS,
    label_file="market_attribute.mat",
    read_labels=functools.partial(read_attribute_labels, struct="market_attribute", tasks=TASKS, fields=LABEL_FIELDS),
    published_counts={
        "train": {"examples": 12936, "identities": 751},
        "query": {"examples": 3368, "identities": 750},
        "gallery": {"examples": 15913, "identities": 750, "junk": 3819, "distractors": 2798},
    },
)

convert = functools.partial(convert_source, MARKET1501)

if __name__ == "__main__":
    run_converter(convert)
