"""The options of a model and of its training: two frozen dataclasses, written as config.json beside every checkpoint.

Each option is declared here once; flags, validation and documentation come from the field (see `lrdnn_base.options`).
"""

import dataclasses

from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.phases import ATTRIBUTES, FUSION, IDENTITY

BACKBONES = ("resnet50", "mobilenet_v2", "small")  # each is a file of this name in lrdnn_tf/model/backbones/
POSE_MAPS = ("none", "confidence", "affinity", "both", "positions")
CHANNEL_PARSE_SQUEEZES = ("mean", "max", "rms")
CHANNEL_PARSE_ORDERS = ("before", "after")
FUSE = ("maps", "pool5")
SCHEDULES = ("decay", "cosine")  # see lrdnn_base.schedule
BILINEAR_METHODS = ("fft", "outer_product")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes and the numbers of a model. Defaults are the paper's.

    Attributes:
        identities: Number of training identities, the classes of the identity head.
        attributes: The attribute tasks, with a head each; empty for the paper's baseline B.
        pose_width: Factor on the channels of the pose network; 1 is OpenPose's. The pretrained pose network sets it.
    """

    identities: int
    attributes: tuple[AttributeTask, ...] = ()
    height: int = option(
        256,
        "Input height in pixels; later phases inherit it. The paper does not state a size, 256x128 is the standard.",
        at_least=1,
    )
    width: int = option(128, "Input width in pixels; later phases inherit it.", at_least=1)
    backbone: str = option(
        "resnet50",
        "The main branch: resnet50 is the paper's, mobilenet_v2 is lighter and has ImageNet weights, too, small is for "
        "machines without a GPU; later phases inherit it.",
        choices=BACKBONES,
    )
    last_stride: int = option(
        2,
        "Stride of the backbone's last stage: 2, or 1 for maps of twice the height and width; later phases inherit it.",
        choices=(1, 2),
    )
    pose_maps: str = option(
        "none",
        "Pose maps to fuse (the paper's letters H and C); the fusion phase uses both unless this flag is given. "
        "positions is a control without a pose branch: one fixed map per position of F.",
        choices=POSE_MAPS,
        only_in=(FUSION,),
    )
    pose_width: float = 1.0
    channel_parse: bool = option(
        True, "Whether the pose maps pass the channel parse block (paper, section 3.4).", only_in=(FUSION,)
    )
    channel_parse_reduction: int = option(
        4,
        "Channels per unit of that block's bottleneck; the 16 of SE-net would leave 3 units for 57 channels.",
        at_least=1,
        only_in=(FUSION,),
    )
    channel_parse_squeeze: str = option(
        "rms",
        "What that block squeezes each map to: mean, maximum or root mean square over all positions.",
        choices=CHANNEL_PARSE_SQUEEZES,
        only_in=(FUSION,),
    )
    channel_parse_normalize: bool = option(
        True, "Whether a BatchNorm brings the squeezed numbers to one scale.", only_in=(FUSION,)
    )
    channel_parse_order: str = option(
        "before",
        "Whether that block comes before the BatchNorm that aligns the pose maps, or after it.",
        choices=CHANNEL_PARSE_ORDERS,
        only_in=(FUSION,),
    )
    fuse: str = option(
        "maps",
        "Whether F's maps are fused with the pose maps, or their pooled vectors (pool5), aligned after pooling.",
        choices=FUSE,
        only_in=(FUSION,),
    )
    bilinear_dim: int = option(8192, "Length of the compact bilinear descriptor.", at_least=1, only_in=(FUSION,))
    bilinear_seed: int = option(0, "Seed of the hash functions of compact bilinear pooling.", only_in=(FUSION,))
    bilinear_method: str = option(
        "fft",
        "How compact bilinear pooling is computed: the same numbers, and outer_product is faster on a CPU.",
        choices=BILINEAR_METHODS,
        only_in=(FUSION,),
    )

    def __post_init__(self):
        if self.identities < 1:
            raise InputError(f"identities={self.identities} must be at least 1")
        check_options(self)
        if self.pose_maps == "positions" and (self.channel_parse or self.fuse == "pool5"):
            wrong = "fuse=pool5" if self.fuse == "pool5" else "channel_parse=true"
            raise InputError(f"pose_maps=positions is the same for every image, so that {wrong} has nothing to work on")

    @property
    def has_pose_branch(self) -> bool:
        """Whether the model contains a pose network."""
        return self.pose_maps in ("confidence", "affinity", "both")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a phase is trained. Rates are the paper's (section 4.3); batch size and augmentation are the field's.

    Recipes that the paper does not have are off by default.
    """

    epochs: int = option(help="Passes over the training images; the paper's 100, 60 and 100 unless given.", above=0)
    batch_size: int = option(32, "Images per step, over all devices together.", above=0)
    learning_rate: float = option(1e-4, "Adam's learning rate in the first epoch.", above=0)
    decay: float = option(0.96, "Factor on the learning rate after every epoch.", above=0)
    schedule: str = option(
        "decay", "How the learning rate falls: by a factor per epoch, or by a cosine that ends at 0.", choices=SCHEDULES
    )
    warmup_epochs: int = option(0, "Epochs in which the learning rate rises linearly from 0.", at_least=0)
    label_smoothing: float = option(
        0.0, "Share of each identity label that is spread evenly over the classes.", at_least=0, below=1
    )
    triplet_weight: float = option(
        0.0, "Weight of a batch-hard triplet loss on the descriptor; needs --images_per_identity.", at_least=0
    )
    triplet_margin: float = option(0.3, "Margin of the triplet loss, on descriptors of unit length.", at_least=0)
    ema: float = option(
        0.0,
        "Momentum of a moving average of the weights that the phase ends with, such as 0.999; 0 for none.",
        at_least=0,
        below=1,
    )
    imagenet_weights: str = option(
        "imagenet",
        "Weights that the backbone starts from: imagenet (fetched), none, or the path of a Keras weights file.",
        only_in=(IDENTITY,),
    )
    attribute_weight: float = option(
        1.0,
        "Weight of the mean attribute loss beside the identity loss (equation 8 gives both one form).",
        only_in=(ATTRIBUTES, FUSION),
    )
    images_per_identity: int = option(
        0, "Images of each identity in a batch (K of identity-balanced batches); 0 for plain shuffling.", at_least=0
    )
    random_erasing: float = option(
        0.0, "Probability that a rectangle of a training image is erased.", at_least=0, at_most=1
    )
    freeze_pose: bool = option(
        False,
        "Whether the pose branch stays as it was pretrained, BatchNorms included.",
        only_in=(FUSION,),
    )
    seed: int = option(0, "Seed of initial weights, shuffling and augmentation.")

    def __post_init__(self):
        check_options(self)
        if self.triplet_weight and self.images_per_identity < 2:
            raise InputError("triplet_weight needs several images of a person in a batch: --images_per_identity=4")


def to_json(config: ModelConfig | TrainingConfig) -> dict:
    """The config as plain JSON types."""
    content = dataclasses.asdict(config)
    if isinstance(config, ModelConfig):
        content["attributes"] = [{"name": task.name, "classes": list(task.classes)} for task in config.attributes]
    return content


def model_config_from_json(content: dict) -> ModelConfig:
    """The inverse of `to_json` for a ModelConfig."""
    tasks = tuple(AttributeTask(task["name"], tuple(task["classes"])) for task in content["attributes"])
    return ModelConfig(**{**content, "attributes": tasks})
