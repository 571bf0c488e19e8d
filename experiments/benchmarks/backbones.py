"""Backbones beside each other: training and inference of the first phase, parameters and operations.

MobileNetV2 is compared with ResNet-50, the paper's; the other backbones are further variants.
"""

from collections.abc import Callable
from functools import partial

import tensorflow as tf
import tf_keras as keras

from experiments.benchmarks.compare import OURS, REFERENCE, Comparison, compare, run_as_command
from experiments.benchmarks.training import IDENTITIES, Options, forward_gflops, phase_model
from lrdnn_base.devices import device_names
from lrdnn_tf.config import BACKBONES, TrainingConfig
from lrdnn_tf.training.train_phase import compile_model

SIZES = Options()  # the paper's input, 16 images
VARIANTS = {"mobilenet_v2": OURS, "resnet50": REFERENCE}  # the others have their own names


def _batch(options: Options) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    images = tf.random.stateless_uniform([options.batch_size, options.height, options.width, 3], [0, 0], 0, 255)
    return images, {"identity": tf.range(options.batch_size) % IDENTITIES}


def training_step(options: Options) -> Callable[[], object]:
    """One step of the first phase on one batch."""
    network = phase_model("identity", options)
    model = keras.Model(network.input, network.output)
    compile_model(model, TrainingConfig(epochs=1), steps=1, jit_compile=False)
    return partial(model.train_on_batch, *_batch(options))


def inference(options: Options) -> Callable[[], object]:
    """The descriptors of one batch."""
    network = phase_model("identity", options)
    predict = tf.function(lambda images: network(images, training=False)["embedding"])
    images, _ = _batch(options)
    return lambda: predict(images).numpy()


def run_benchmark(sizes: Options = SIZES, repeats: int = 5) -> dict:
    """Times a training step and a batch of inference of every backbone, in turn.

    Args:
        sizes: Input and batch size; its backbone is not used.
        repeats: Timed calls of each.
    """
    options = {name: Options(**vars(sizes) | {"backbone": name}) for name in BACKBONES}

    def timed(name: str, prepare: Callable) -> Comparison:
        variants = {VARIANTS.get(backbone, backbone): partial(prepare, options[backbone]) for backbone in BACKBONES}
        ours, reference = variants.pop(OURS), variants.pop(REFERENCE)
        return compare(name, ours, reference, variants, repeats=repeats, warm_up=2)

    figures, training, predicting = {}, timed("backbones", training_step), timed("backbones", inference)
    for backbone in BACKBONES:
        variant = VARIANTS.get(backbone, backbone)
        network = phase_model("identity", options[backbone])
        figures |= {
            f"{backbone}_training_images_per_s": sizes.batch_size / training.median(variant),
            f"{backbone}_inference_images_per_s": sizes.batch_size / predicting.median(variant),
            f"{backbone}_million_parameters": network.count_params() / 1e6,
            f"{backbone}_gflops": forward_gflops(network),
        }
    size = f"{sizes.height}x{sizes.width}"
    return training.report(**figures, size=size, batch_size=sizes.batch_size, devices=device_names())


if __name__ == "__main__":
    run_as_command(run_benchmark)
