"""How fast the fusion phase learns in several forms.

python -m experiments.studies.fusion_form --run_dir=runs/NAME --data_dir=DATASET --out=TABLE.csv

A form says how the bilinear descriptor meets its fresh classifiers, how fast the alignment BatchNorms follow, and
whether the pose branch learns. Each is trained from the run's attributes phase and pose network, and measured by
two descriptors: the fused one, and the pooled features of the main branch alone, which show what is left of what
the attributes phase learned. What came out stands in experiments/notes/fusion.md.
"""

import dataclasses
import math
import os
import pathlib

import pandas as pd
import tensorflow as tf
import tf_keras as keras
from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.data.pipeline import read_labels, training_batches
from lrdnn_tf.evaluation.descriptors import describe
from lrdnn_tf.evaluation.ranking import rank
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY, POSE_BRANCH, build_model
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.start_weights import load_start_weights
from lrdnn_tf.training.train_phase import compile_model, labels_of

MAIN_BRANCH = "main_branch"
_ALIGNED = "align_"


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to train the fusion.

    Attributes:
        scale: What the unit-length descriptor is multiplied by before the classifiers; "root_dim" is sqrt(D).
        learned: Whether that factor is trained, too.
        kernel: Initial weights of the classifiers.
        momentum: Of the alignment BatchNorms.
        freeze_pose: Whether the pose branch stays as it was pretrained.
    """

    scale: float | str = "root_dim"
    learned: bool = False
    kernel: str = "glorot_uniform"
    momentum: float = 0.9
    freeze_pose: bool = False


FORMS = {
    "unit": Form(scale=1.0),
    "unit_slow_bn": Form(scale=1.0, momentum=0.99),
    "scale_16": Form(scale=16.0),
    "learned_16": Form(scale=16.0, learned=True),
    "root_dim": Form(),
    "root_dim_slow_bn": Form(momentum=0.99),
    "root_dim_frozen": Form(freeze_pose=True),
    "zeros": Form(kernel="zeros"),
    "zeros_frozen": Form(kernel="zeros", freeze_pose=True),
    "unit_zeros": Form(scale=1.0, kernel="zeros"),
}


@keras.utils.register_keras_serializable("lrdnn_tf_experiments")
class LearnedScale(keras.layers.Layer):
    """Multiplies by one trained number."""

    def __init__(self, initial: float, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        self.factor = self.add_weight("factor", [], initializer=keras.initializers.Constant(self.initial))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.factor * inputs


def in_form(model: keras.Model, form: Form) -> keras.Model:
    """The same network with fresh classifiers, and what else the form says."""
    embedding = model.output[EMBEDDING]
    scale = math.sqrt(embedding.shape[-1]) if form.scale == "root_dim" else form.scale
    layer = LearnedScale(scale) if form.learned else keras.layers.Rescaling(scale)
    seen = layer(embedding)
    outputs = {EMBEDDING: embedding}
    for name, logits in model.output.items():
        if name != EMBEDDING:
            outputs[name] = keras.layers.Dense(logits.shape[-1], kernel_initializer=form.kernel, name=f"{name}_head")(
                seen
            )
    for layer in model.layers:
        if layer.name.startswith(_ALIGNED):
            layer.momentum = form.momentum
    model.get_layer(POSE_BRANCH).trainable = not form.freeze_pose
    return keras.Model(model.input, outputs)


def retrieval(model: keras.Model, dataset: Dataset) -> dict[str, float]:
    """Rank-1 and mAP in percent by the fused descriptor, and by the main branch's pooled features."""
    features = keras.layers.GlobalAveragePooling2D()(model.get_layer("align_features").input)
    both = keras.Model(model.input, {EMBEDDING: model.output[EMBEDDING], MAIN_BRANCH: features})
    found = {split: describe(both, dataset, split) for split in ("query", "gallery")}
    labels = {split: read_labels(dataset, split) for split in found}
    columns = {f"{split}_ids": labels[split]["identity"].to_numpy() for split in found}
    columns |= {f"{split}_cameras": labels[split]["camera"].to_numpy() for split in found}
    scores = {}
    for name, of in (("fused", lambda d: d.embeddings), ("main branch", lambda d: d.logits[MAIN_BRANCH])):
        result = rank(query=of(found["query"]), gallery=of(found["gallery"]), **columns)
        scores |= {f"{name} rank-1": 100 * float(result.cmc[0]), f"{name} mAP": 100 * result.mean_ap}
    return scores


def study(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    out: str | os.PathLike,
    forms: list[str],
    rates: list[float],
    epochs: int = 12,
    bilinear_dim: int = 2048,
    seed: int = 0,
) -> pd.DataFrame:
    """Trains each form at each rate and writes a line for each into the CSV file `out`; lines that are there stay.

    Raises:
        InputError: No such form, or an earlier phase is missing.
    """
    if unknown := set(forms) - set(FORMS):
        raise InputError(f"no form {', '.join(sorted(unknown))}: there are {', '.join(FORMS)}")
    dataset, run_dir, out = read_dataset(data_dir), pathlib.Path(run_dir), pathlib.Path(out)
    lines = pd.read_csv(out).to_dict("records") if out.is_file() else []
    done = {(line["form"], line["rate"]) for line in lines}
    options = {"bilinear_dim": bilinear_dim, "bilinear_method": "outer_product"}
    config = phase_config("fusion", dataset, run_dir, True, options)
    for rate in rates:
        for name in forms:
            if (name, rate) in done:
                continue
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            model = build_model(config)
            load_start_weights(model, "fusion", config, run_dir, "none")
            model = in_form(model, FORMS[name])
            start = {f"start {key}": value for key, value in retrieval(model, dataset).items()}
            training = TrainingConfig(epochs=epochs, learning_rate=rate, seed=seed)
            history = _fit(model, dataset, training)
            scores = retrieval(model, dataset)
            lines.append({"form": name, "rate": rate, "epochs": epochs} | start | history | scores)
            out.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(lines).to_csv(out, index=False)
            print(
                f"{name} at {rate:g}: " + ", ".join(f"{k} {v:.3g}" for k, v in (history | scores).items()), flush=True
            )
    return pd.DataFrame(lines)


def _fit(model: keras.Model, dataset: Dataset, training: TrainingConfig) -> dict[str, float]:
    """Trains as `lrdnn_tf.training.train_phase.train_phase` does; identity loss and accuracy of the last epoch."""
    steps = dataset.splits["train"].examples // training.batch_size
    compile_model(model, training, steps, jit_compile=False)
    _, height, width, _ = model.input_shape
    batches = training_batches(dataset, height, width, training.batch_size, training.seed, 0)
    history = model.fit(
        labels_of(batches, model.loss),
        epochs=training.epochs,
        steps_per_epoch=steps,
        verbose=0,
    ).history
    half = training.epochs // 2 - 1
    return {
        "accuracy, half way": 100 * history[f"{IDENTITY}_head_accuracy"][half],
        "accuracy": 100 * history[f"{IDENTITY}_head_accuracy"][-1],
    }


def main() -> None:
    args = flags.FLAGS
    rates = [float(rate) for rate in args.rates]
    table = study(args.run_dir, args.data_dir, args.out, args.forms, rates, args.epochs, args.bilinear_dim, args.seed)
    print(table.round(1).to_string(index=False))


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "A run with pose network and attributes phase.")
    flags.DEFINE_string("data_dir", None, "The dataset it was trained on.")
    flags.DEFINE_string("out", None, "CSV file for the results; forms and rates that stand there are skipped.")
    flags.DEFINE_list("forms", list(FORMS), "Forms to train, separated by commas.")
    flags.DEFINE_list("rates", ["1e-4", "1e-3"], "Adam's rates.")
    flags.DEFINE_integer("epochs", 12, "Passes over the training images.")
    flags.DEFINE_integer("bilinear_dim", 2048, "Length of the fused descriptor.")
    flags.DEFINE_integer("seed", 0, "Seed of classifiers, shuffling and augmentation.")
    flags.mark_flags_as_required(["run_dir", "data_dir", "out"])
    command.run(main)
