"""Trains one phase of LRDNN: python -m lrdnn_tf.train --phase=fusion --run_dir=runs/NAME --data_dir=DATASET"""

import pathlib

from absl import flags

from lrdnn_tf import binary, config
from lrdnn_tf.config import ModelConfig, TrainingConfig
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.training.loop import train_phase
from lrdnn_tf.training.phases import PHASES, phase_config
from lrdnn_tf.training.runtime import PRECISIONS, device_names, set_precision

_MODEL_FLAGS = (
    "backbone", "height", "width", "pose_maps", "channel_parse", "channel_parse_reduction", "fuse",
    "bilinear_dim", "bilinear_seed",
)  # fmt: skip


def main() -> None:
    args = flags.FLAGS
    print(f"{args.phase}: {set_precision(args.precision)} on {device_names()}")
    dataset = read_dataset(args.data_dir)
    run_dir = pathlib.Path(args.run_dir)
    options = {name: args[name].value for name in _MODEL_FLAGS}
    model_config = phase_config(args.phase, dataset, run_dir, args.attributes, options)
    training = TrainingConfig(
        epochs=PHASES[args.phase].epochs if args.epochs is None else args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        decay=args.decay,
        imagenet_weights=args.imagenet_weights,
        attribute_weight=args.attribute_weight,
        images_per_identity=args.images_per_identity,
        random_erasing=args.random_erasing,
        seed=args.seed,
    )
    train_phase(args.phase, dataset, run_dir, model_config, training, args.cache_images)


if __name__ == "__main__":
    flags.DEFINE_enum("phase", None, list(PHASES), "What to train; each phase starts from the one before it.")
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME: each phase is a folder in it.")
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    flags.DEFINE_integer("epochs", None, "Passes over the training images; the paper's 100, 60, 100 unless given.")
    flags.DEFINE_integer("batch_size", TrainingConfig.batch_size, "Images a step.")
    flags.DEFINE_float("learning_rate", TrainingConfig.learning_rate, "Adam's rate in the first epoch.")
    flags.DEFINE_float("decay", TrainingConfig.decay, "Factor on the rate after every epoch.")
    flags.DEFINE_float(
        "attribute_weight",
        TrainingConfig.attribute_weight,
        "Weight of the mean attribute loss.",
    )
    flags.DEFINE_integer(
        "images_per_identity", TrainingConfig.images_per_identity, "Images of each identity in a batch; 0: no matter."
    )
    flags.DEFINE_float("random_erasing", TrainingConfig.random_erasing, "Probability of erasing a part of an image.")
    flags.DEFINE_bool("cache_images", False, "Keep decoded images in memory: faster, 320 MB for Market-1501.")
    flags.DEFINE_integer("seed", TrainingConfig.seed, "Seed of initial weights, shuffling and augmentation.")
    flags.DEFINE_enum(
        "precision", "auto", PRECISIONS, "Number format; auto is mixed_float16 on a GPU with tensor cores."
    )
    flags.DEFINE_string(
        "imagenet_weights", "imagenet", "What ResNet-50 starts from: imagenet, none, or a weights file."
    )
    flags.DEFINE_enum("backbone", None, config.BACKBONES, "Main branch; later phases inherit it. Default resnet50.")
    flags.DEFINE_integer("height", None, "Input height in pixels; later phases inherit it. Default 256.")
    flags.DEFINE_integer("width", None, "Input width in pixels; later phases inherit it. Default 128.")
    flags.DEFINE_bool("attributes", True, "Whether attribute heads are trained (the paper's letter A).")
    flags.DEFINE_enum("pose_maps", None, config.POSE_MAPS, "Pose maps to fuse (letters H and C). Default both.")
    flags.DEFINE_bool("channel_parse", ModelConfig.channel_parse, "Whether pose maps pass the channel parse block.")
    flags.DEFINE_integer("channel_parse_reduction", ModelConfig.channel_parse_reduction, "Its bottleneck.")
    flags.DEFINE_enum("fuse", ModelConfig.fuse, config.FUSE, "Fuse maps, or pooled vectors.")
    flags.DEFINE_integer("bilinear_dim", ModelConfig.bilinear_dim, "Length of the fused descriptor.")
    flags.DEFINE_integer("bilinear_seed", ModelConfig.bilinear_seed, "Seed of its hash functions.")
    flags.mark_flags_as_required(["phase", "run_dir", "data_dir"])
    binary.run(main)
