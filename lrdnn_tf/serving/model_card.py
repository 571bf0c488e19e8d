"""The model card of an export: what the model was made from, what it is for, and what to think of first."""

import json
import os
import pathlib

from lrdnn_base.errors import InputError

CARD_FILE = "assets.extra/model_card.md"

_INTENDED = """\
## Intended use

Research on person re-identification, and search by people who may look at the pictures anyway: a crop of one person,
cut out by a detector, is compared with crops from other cameras of the same place within hours. What it returns are
candidates for a person to look at, in the order of their similarity.

Not for: deciding about anybody without a person who looks; naming people; following people who did not agree or in
places where the law does not allow it; guessing origin, belief, health or sexuality; faces.
"""

_LIMITS = """\
## Limits

- It compares clothes and build more than people: the same person in other clothes is another person to it, and two
  people in the same uniform are one.
- It has learned from the cameras, the seasons and the people of one dataset. On others it is worse, often by far:
  measure on images of the place before relying on it.
- Attributes are those of the dataset, with its words and its mistakes. "Gender" is what somebody who looked at a
  small picture of a stranger guessed, in two classes; so are ages.
- How well it works for people of different skin colour, age or clothing habits has not been measured. Datasets like
  these were gathered at few places; expect differences.
- It answers for every image, also for one without a person, and says nothing of how sure an embedding is.
- The similarity of two images is no probability. A threshold has to be chosen on data of the place.
"""

_ETHICS = """\
## Law and ethics

Re-identification is a technology of surveillance. Images of people are personal data; where embeddings serve to
recognize a person they can be biometric data, which in the European Union fall under Article 9 of the GDPR (Regulation
2016/679) and, for biometric identification, under the AI Act (Regulation 2024/1689), which forbids some uses and binds
others to conditions; other places have laws of their own. Whoever runs this needs a legal basis, a purpose, a time
after which images and embeddings are deleted, and an answer for the people who were seen. An index of embeddings
deserves the protection of the images that it was made from.

DukeMTMC-reID, one of the two datasets of the paper, was withdrawn by its makers in 2019, after it became known that
people were recorded without their consent and what the data were used for. It should not be used for new work. Ask
of every other dataset, too, whether its people agreed, and whether its terms allow what you have in mind.
"""

_SHOWN = {
    "rank1": "rank-1",
    "mAP": "mAP",
    "rank1_reranked": "rank-1, re-ranked",
    "mAP_reranked": "mAP, re-ranked",
    "mean_attribute_accuracy": "mean attribute accuracy",
    "mean_attribute_balanced_accuracy": "mean balanced attribute accuracy",
}


def model_card(config: dict, summary: dict | None) -> str:
    """The card as Markdown.

    Args:
        config: config.json of the phase.
        summary: summary.json of the run's report; None when it was not evaluated.
    """
    model, dataset = config["model"], config["dataset"]
    tasks = [f"- {task['name']}: {', '.join(task['classes'])}" for task in model["attributes"]]
    return "\n".join(
        [
            "# LRDNN: a person re-identification model",
            "",
            "LRDNN (Zhou et al., IJCAI 2019, doi 10.24963/ijcai.2019/146), an independent implementation. It takes an",
            f"image of a person, of any size, resized to {model['height']}x{model['width']} pixels, and gives a vector",
            "of unit length; images of one person have vectors near each other. With attribute heads it gives",
            "attributes, too.",
            "",
            "## Data",
            "",
            f"Trained on the dataset `{dataset['name']}`: {model['identities']} identities (training images",
            f"`{dataset['training_images']}`), phase `{config['phase']}`.",
            "",
            *(["Attributes and their classes:", "", *tasks] if tasks else ["It has no attribute heads."]),
            "",
            "## Metrics",
            "",
            *_metrics(config["phase"], summary),
            "",
            _INTENDED,
            _LIMITS,
            _ETHICS,
            "## Config",
            "",
            "```json",
            json.dumps({"model": model, "training": config["training"]}, indent=2),
            "```",
            "",
            "## Licence",
            "",
            "The code is under Apache-2.0. The weights are subject to the terms of the data that they were made from.",
            "",
        ]
    )


def read_summary(run_dir: str | os.PathLike) -> dict | None:
    """summary.json of the run's report; None when there is none.

    Raises:
        InputError: It is not readable.
    """
    path = pathlib.Path(run_dir) / "report" / "summary.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"cannot read {path} ({error}): evaluate again with python -m lrdnn_tf.evaluate") from None


def _metrics(phase: str, summary: dict | None) -> list[str]:
    measured = (summary or {}).get("phases", {}).get(phase)
    if not measured:
        return ["Not measured before the export: `python -m lrdnn_tf.evaluate` measures a run, export again after it."]
    rows = [f"| {name} | {100 * measured[key]:.1f} |" for key, name in _SHOWN.items() if measured.get(key) is not None]
    return [
        f"In percent, on the {measured['queries']} queries of `{summary['dataset']}`, other people than those in",
        "training; cross-camera protocol of Market-1501.",
        "",
        "| | |",
        "|---|---|",
        *rows,
        f"| rank-1 of a random order | {100 * summary['chance_rank1']:.1f} |",
    ]
