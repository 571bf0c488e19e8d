"""The three training phases (paper, section 4.3): what each trains, for how long, and what it starts from."""

from typing import NamedTuple

IDENTITY, ATTRIBUTES, FUSION = "identity", "attributes", "fusion"


class Phase(NamedTuple):
    """One row of the table of phases.

    Attributes:
        epochs: Passes over the training images in the paper.
        attribute_heads: Whether the model has a classifier for each attribute task.
        pose_branch: Whether the model has a pose branch, and fuses it with the main branch.
    """

    epochs: int
    attribute_heads: bool
    pose_branch: bool


PHASES = {
    IDENTITY: Phase(epochs=100, attribute_heads=False, pose_branch=False),
    ATTRIBUTES: Phase(epochs=60, attribute_heads=True, pose_branch=False),
    FUSION: Phase(epochs=100, attribute_heads=True, pose_branch=True),
}


def starts_from(phase: str, attributes: bool) -> str:
    """The phase whose weights a phase starts from; the first one can start from the same phase of another run.

    Args:
        phase: A name of PHASES.
        attributes: Whether the run trains attributes; without them, fusion starts from identity.
    """
    return ATTRIBUTES if phase == FUSION and attributes else IDENTITY
