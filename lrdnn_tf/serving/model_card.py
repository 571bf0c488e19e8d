"""The model card of an export: training data, metrics, intended use, limits, law and ethics."""

import json
import os
import pathlib

from lrdnn_base.files import read_json

CARD_FILE = "assets.extra/model_card.md"

_CARD = """\
# LRDNN: a person re-identification model

LRDNN (Zhou et al., IJCAI 2019, doi 10.24963/ijcai.2019/146), an independent implementation. Its input is an image of a
person, of any size, which is resized to {model[height]}x{model[width]} pixels. Its output is a vector of unit length,
and vectors of images of one person are near each other. A model with attribute heads also outputs attributes.

## Data

Trained on the dataset `{dataset[name]}`: {model[identities]} identities (training images
`{dataset[training_images]}`), phase `{phase}`.

{attributes}

## Metrics

{metrics}

## Intended use

Research on person re-identification, and search by people who are permitted to look at the images anyway: a crop of
one person, cut out by a detector, is compared with crops from other cameras at the same site within hours. The result
is a list of candidates for a person to review, in the order of their similarity.

Not for: decisions about anybody without human review; naming people; following people who did not consent or where the
law does not allow it; guessing origin, belief, health or sexuality; face recognition.

## Limits

- It compares clothes and build more than people: the same person in other clothes counts as another person, and two
  people in the same uniform count as one.
- It was trained on the cameras, the seasons and the people of one dataset. On other images it is less accurate, often
  by far: measure it on images of the site before relying on it.
- Attributes are those of the dataset, with its vocabulary and its label errors. "Gender" is what an annotator guessed
  from a small picture of a stranger, in two classes; the same holds for age.
- Its accuracy for people of different skin colour, age or clothing habits has not been measured. Datasets like these
  were recorded at few sites; expect differences.
- It returns a result for every image, also for one without a person, and no confidence for an embedding.
- The similarity of two images is not a probability. A threshold has to be chosen on data of the site.

## Law and ethics

Re-identification is a surveillance technology. Images of people are personal data; where embeddings serve to recognize
a person they can be biometric data, which in the European Union fall under Article 9 of the GDPR (Regulation 2016/679)
and, for biometric identification, under the AI Act (Regulation 2024/1689), which forbids some uses and attaches
conditions to others; other countries have their own laws. Operators need a legal basis, a purpose, a time after which
images and embeddings are deleted, and an answer for the people who were recorded. An index of embeddings deserves the
same protection as the images that it was computed from.

DukeMTMC-reID, one of the two datasets of the paper, was withdrawn by its authors in 2019, after it became known that
people were recorded without their consent and what the data were used for. It should not be used for new work. Check
for every other dataset, too, whether the people in it consented, and whether its terms allow the intended use.

## Config

```json
{config}
```

## Licence

The code is under Apache-2.0. The weights are subject to the terms of the data that they were trained on.
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
        summary: summary.json of the run's report; None when the run was not evaluated.
    """
    model, phase = config["model"], config["phase"]
    tasks = [f"- {task['name']}: {', '.join(task['classes'])}" for task in model["attributes"]]
    return _CARD.format(
        model=model,
        dataset=config["dataset"],
        phase=phase,
        attributes="\n".join(["Attributes and their classes:", "", *tasks]) if tasks else "It has no attribute heads.",
        metrics=_metrics(phase, summary),
        config=json.dumps({"model": model, "training": config["training"]}, indent=2),
    )


def read_summary(run_dir: str | os.PathLike) -> dict | None:
    """The content of the run's report/summary.json; None when there is no such file.

    Raises:
        InputError: The file cannot be read.
    """
    path = pathlib.Path(run_dir) / "report" / "summary.json"
    return read_json(path, "evaluate again with python -m lrdnn_tf.evaluate") if path.is_file() else None


def _metrics(phase: str, summary: dict | None) -> str:
    measured = (summary or {}).get("phases", {}).get(phase)
    if not measured:
        return "Not measured before the export: run `python -m lrdnn_tf.evaluate`, then export again."
    rows = [f"| {name} | {100 * measured[key]:.1f} |" for key, name in _SHOWN.items() if measured.get(key) is not None]
    return "\n".join(
        [
            f"In percent, on the {measured['queries']} queries of `{summary['dataset']}`, whose people are not in the",
            "training images; cross-camera protocol of Market-1501.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            f"| rank-1 of a random order | {100 * summary['chance_rank1']:.1f} |",
        ]
    )
