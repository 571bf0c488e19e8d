"""The look of a drawn person, the same in all images: Market-1501's twelve attributes, exact colours and build."""

import dataclasses

import numpy as np

from data_prep.market1501 import TASKS
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN

Colour = tuple[int, int, int]  # red, green, blue, 0..255

CLASSES = {task.name: task.classes for task in TASKS}

# The centre of the colours that each name covers.
PALETTE: dict[str, Colour] = {
    "black": (34, 33, 38),
    "white": (233, 232, 228),
    "red": (196, 32, 38),
    "pink": (236, 130, 168),
    "purple": (118, 48, 150),
    "yellow": (228, 192, 40),
    "gray": (128, 129, 131),
    "blue": (38, 78, 178),
    "green": (44, 132, 62),
    "brown": (112, 70, 38),
}
_SKINS = ((243, 207, 180), (228, 182, 148), (205, 152, 114), (160, 108, 76), (108, 70, 50))
_HAIR = ((28, 24, 24), (58, 38, 26), (98, 62, 34), (176, 134, 76), (140, 58, 30))
_OLD_HAIR = ((206, 206, 206), (172, 172, 174), (226, 224, 218))
_SHOES = ((26, 26, 28), (238, 238, 236), (96, 62, 38), (170, 34, 40), (40, 60, 130), (150, 150, 150))

# The attributes in which near-twins may differ.
TWIN_TASKS = ("hair", "sleeve", "lower_length", "hat", "backpack", "bag", "handbag")


@dataclasses.dataclass(frozen=True)
class Look:
    """The look of one identity. Lengths are in metres, widths are factors around 1."""

    attributes: tuple[int, ...]  # one class index per task of Market-1501; UNKNOWN for two colours
    height: float
    width: float
    skin: Colour
    hair: Colour
    upper: Colour
    upper_second: Colour  # equals upper unless the upper colour is unknown
    lower: Colour
    lower_second: Colour
    pattern: str  # how two colours share a garment: "stripes" or "halves"
    shoes: Colour
    hat: Colour
    backpack: Colour
    bag: Colour
    handbag: Colour
    backpack_size: float
    cloth_seed: int  # of the weave

    def __getitem__(self, task: str) -> str:
        """The name of this person's class in a task, or "unknown"."""
        value = self.attributes[list(CLASSES).index(task)]
        return "unknown" if value == UNKNOWN else CLASSES[task][value]


def with_attributes(look: Look, **classes: str) -> Look:
    """The same person with other classes in some tasks; colours need random_look."""
    values = list(look.attributes)
    for task, name in classes.items():
        values[list(CLASSES).index(task)] = CLASSES[task].index(name)
    return dataclasses.replace(look, attributes=tuple(values))


def random_look(rng: np.random.Generator, **fixed: str) -> Look:
    """A random person.

    Args:
        rng: The only source of randomness.
        fixed: Class names that are given, for example gender="female"; upper_colour="unknown" gives two colours.

    Raises:
        InputError: A task of Market-1501 was added without its class in a drawn person.
    """
    names = {**_random_classes(rng, fixed), **fixed}
    if missing := [task for task in CLASSES if task not in names]:
        raise InputError(f"{', '.join(missing)}: drawn people have no class; add one to _random_classes in {__file__}")
    upper, upper_second = _garment(rng, names["upper_colour"], CLASSES["upper_colour"])
    lower, lower_second = _garment(rng, names["lower_colour"], CLASSES["lower_colour"])
    tall = {"young": 1.16, "teenager": 1.62, "adult": 1.75, "old": 1.66}[names["age"]]
    if names["gender"] == "female" and names["age"] != "young":
        tall -= 0.09
    return Look(
        attributes=tuple(
            UNKNOWN if names[task] == "unknown" else classes.index(names[task]) for task, classes in CLASSES.items()
        ),
        height=float(tall * rng.uniform(0.95, 1.06)),
        width=float(rng.uniform(0.88, 1.2) * (0.9 if names["age"] == "teenager" else 1.0)),
        skin=_shade(rng, _SKINS[rng.integers(len(_SKINS))], 0.06),
        hair=_shade(rng, _pick(rng, _OLD_HAIR if names["age"] == "old" else _HAIR), 0.1),
        upper=upper,
        upper_second=upper_second,
        lower=lower,
        lower_second=lower_second,
        pattern=_pick(rng, ("stripes", "halves")),
        shoes=_shade(rng, _pick(rng, _SHOES), 0.15),
        hat=_colour_beside(rng, "black", "brown"),  # unlike hair
        backpack=_colour_beside(rng, names["upper_colour"]),
        bag=_colour_beside(rng, names["upper_colour"], names["lower_colour"]),
        handbag=_colour_beside(rng, names["lower_colour"]),
        backpack_size=float(rng.uniform(0.85, 1.15)),
        cloth_seed=int(rng.integers(2**31)),
    )


def twin(look: Look, rng: np.random.Generator) -> Look:
    """A near-twin: the same person except for one or two of TWIN_TASKS."""
    tasks = rng.choice(TWIN_TASKS, size=rng.integers(1, 3), replace=False)
    other = {task: next(name for name in CLASSES[task] if name != look[task]) for task in tasks}
    return with_attributes(look, **other)


def random_looks(rng: np.random.Generator, count: int) -> list[Look]:
    """People in groups of four: two near-twins (see is_twin), then two who resemble others by chance only."""
    looks: list[Look] = []
    while len(looks) < count:
        look = random_look(rng)
        looks += [look, twin(look, rng), random_look(rng), random_look(rng)]
    return looks[:count]


def is_twin(index: int) -> bool:
    """Whether the person at this index of random_looks is the near-twin of the previous one."""
    return index % 4 == 1


def _random_classes(rng: np.random.Generator, fixed: dict[str, str]) -> dict[str, str]:
    def chance(probability: float, yes: str, no: str) -> str:
        return yes if rng.random() < probability else no

    gender = fixed.get("gender", chance(0.5, "female", "male"))
    female = gender == "female"
    backpack = chance(0.3, "yes", "no")
    return {
        "gender": gender,
        "hair": chance(0.75 if female else 0.08, "long", "short"),
        "sleeve": chance(0.55, "short", "long"),
        "lower_length": chance(0.45, "short", "long"),
        "lower_type": chance(0.45 if female else 0.0, "dress", "pants"),
        "hat": chance(0.15, "yes", "no"),
        "backpack": backpack,
        "bag": chance(0.08 if backpack == "yes" else 0.3, "yes", "no"),
        "handbag": chance(0.22 if female else 0.1, "yes", "no"),
        "age": str(rng.choice(CLASSES["age"], p=(0.1, 0.4, 0.35, 0.15))),
        "upper_colour": chance(0.08, "unknown", _pick(rng, CLASSES["upper_colour"])),
        "lower_colour": chance(0.05, "unknown", _pick(rng, CLASSES["lower_colour"])),
    }


def _garment(rng: np.random.Generator, name: str, names: tuple[str, ...]) -> tuple[Colour, Colour]:
    if name != "unknown":
        colour = _shade(rng, PALETTE[name], 0.16)
        return colour, colour
    first, second = rng.choice(len(names), size=2, replace=False)
    return _shade(rng, PALETTE[names[first]], 0.1), _shade(rng, PALETTE[names[second]], 0.1)


def _colour_beside(rng: np.random.Generator, *others: str) -> Colour:
    """Any colour except those against which it could not be seen."""
    return _shade(rng, PALETTE[_pick(rng, tuple(name for name in PALETTE if name not in others))], 0.15)


def _shade(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A colour near the given one: lighter or darker, with a slightly different hue."""
    value = np.array(colour, float) * (1 + rng.uniform(-spread, spread)) + rng.uniform(-60, 60, 3) * spread
    return tuple(int(channel) for channel in np.clip(value, 8, 250))


def _pick(rng: np.random.Generator, choices: tuple) -> tuple | str:
    return choices[rng.integers(len(choices))]
