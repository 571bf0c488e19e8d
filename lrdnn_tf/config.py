"""What a model is and how a phase trains it: two frozen dataclasses, written as config.json beside every checkpoint."""

import dataclasses

from lrdnn_base.errors import InputError
from lrdnn_base.schedule import SCHEDULES
from lrdnn_tf.attributes import AttributeTask

BACKBONES = ("resnet50", "small")
POSE_MAPS = ("none", "confidence", "affinity", "both")
FUSE = ("maps", "pool5")
BILINEAR_METHODS = ("fft", "outer_product")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes and the numbers of a model. Defaults are the paper's.

    Attributes:
        identities: Number of training identities, the classes of the identity head.
        attributes: The attribute tasks, with a head each; empty for the paper's baseline B.
        height, width: Input size in pixels; the paper is silent, 256x128 is the field's standard.
        backbone: "resnet50" (the paper), or "small" for machines without a GPU.
        last_stride: Of the backbone's last stage: 2, or 1 for maps of twice the height and width.
        pose_maps: Which maps of the pose branch are fused; "none" leaves the branch out.
        pose_width: Factor on the channels of the pose network; 1 is OpenPose's.
        channel_parse: Whether the pose maps pass the channel parse block (paper, section 3.4).
        channel_parse_reduction: Bottleneck of that block; SE-net's 16 would leave 3 units for 57 channels.
        fuse: "maps" fuses F's maps with the pose maps, "pool5" their pooled vectors.
        bilinear_dim: Length of the compact bilinear descriptor.
        bilinear_seed: Seed of its hash functions.
        bilinear_method: How it is computed, "fft" or "outer_product": the same numbers, and the latter is faster
            on a CPU.
    """

    identities: int
    attributes: tuple[AttributeTask, ...] = ()
    height: int = 256
    width: int = 128
    backbone: str = "resnet50"
    last_stride: int = 2
    pose_maps: str = "none"
    pose_width: float = 1.0
    channel_parse: bool = True
    channel_parse_reduction: int = 4
    fuse: str = "maps"
    bilinear_dim: int = 8192
    bilinear_seed: int = 0
    bilinear_method: str = "fft"

    def __post_init__(self):
        choices = {
            "backbone": BACKBONES,
            "pose_maps": POSE_MAPS,
            "fuse": FUSE,
            "bilinear_method": BILINEAR_METHODS,
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise InputError(f"{field}={getattr(self, field)!r} is not one of {', '.join(allowed)}")
        if self.last_stride not in (1, 2):
            raise InputError(f"last_stride={self.last_stride} is neither 1 nor 2")
        for field in ("identities", "height", "width", "bilinear_dim", "channel_parse_reduction"):
            if getattr(self, field) < 1:
                raise InputError(f"{field}={getattr(self, field)} must be at least 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a phase is trained. Rates are the paper's (section 4.3); batch size and augmentation are the field's.

    What the paper does not have is off by default.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images a step.
        learning_rate: Adam's rate in the first epoch.
        decay: Factor on the rate after every epoch.
        schedule: "decay" as the paper, or "cosine" down to 0.
        warmup_epochs: In which the rate rises from 0.
        label_smoothing: Share of each label that is spread evenly over the classes of identity.
        triplet_weight: Weight of the batch-hard triplet loss on the descriptor; needs images_per_identity.
        triplet_margin: Its margin, on descriptors of unit length.
        ema: Momentum of the moving average of the weights that a phase ends on; 0 for the last weights themselves.
        imagenet_weights: What the identity phase with a resnet50 starts from: "imagenet" (fetched), "none", or a file.
        attribute_weight: Weight of the mean attribute loss beside the identity loss (equation 8: one form for both).
        images_per_identity: K of identity-balanced batches, 0 for plain shuffling.
        random_erasing: Probability that a part of a training image is erased.
        freeze_pose: Whether the pose branch of a fusion stays as it was pretrained, BatchNorms included.
        seed: Seed of initial weights, shuffling and augmentation.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-4
    decay: float = 0.96
    schedule: str = "decay"
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    triplet_weight: float = 0.0
    triplet_margin: float = 0.3
    ema: float = 0.0
    imagenet_weights: str = "imagenet"
    attribute_weight: float = 1.0
    images_per_identity: int = 0
    random_erasing: float = 0.0
    freeze_pose: bool = False
    seed: int = 0

    def __post_init__(self):
        for field in ("epochs", "batch_size", "learning_rate", "decay"):
            if getattr(self, field) <= 0:
                raise InputError(f"{field}={getattr(self, field)} must be above 0")
        for field in ("images_per_identity", "warmup_epochs", "triplet_weight", "triplet_margin"):
            if getattr(self, field) < 0:
                raise InputError(f"{field}={getattr(self, field)} must be 0 or more")
        if not 0 <= self.random_erasing <= 1:
            raise InputError(f"random_erasing={self.random_erasing} is no probability: 0 to 1")
        for field in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, field) < 1:
                raise InputError(f"{field}={getattr(self, field)} must be at least 0 and below 1")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule={self.schedule!r} is not one of {', '.join(SCHEDULES)}")
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
