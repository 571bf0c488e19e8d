"""Draws the built-in dataset.

python -m data_prep.rendered --out_dir=data/rendered

The processes that draw import this file, too: what brings TensorFlow is imported where it is used, to spare them that.
"""

from absl import flags

SIZES = ("train_identities", "test_identities", "images_per_identity", "pose_images", "pose_val_images")


def main() -> None:
    from data_prep.rendered.dataset import write_dataset

    args = flags.FLAGS
    write_dataset(args.out_dir, args.seed, **{size: args[size].value for size in SIZES})
    print(f"wrote {args.out_dir}/market1501 and {args.out_dir}/coco")


if __name__ == "__main__":
    from lrdnn_base import command

    flags.DEFINE_string("out_dir", None, "New folder; gets market1501/ and coco/.", required=True)
    flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.", lower_bound=0)
    flags.DEFINE_integer("train_identities", 60, "People to train on.")
    flags.DEFINE_integer("test_identities", 60, "People to search for.")
    flags.DEFINE_integer("images_per_identity", 12, "Images of each person, over all cameras.")
    flags.DEFINE_integer("pose_images", 700, "Images of the pose set's train2017.")
    flags.DEFINE_integer("pose_val_images", 100, "Images of the pose set's val2017.")
    command.run(main)
