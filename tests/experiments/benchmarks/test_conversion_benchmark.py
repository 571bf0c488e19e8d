from experiments.benchmarks import conversion
from lrdnn_tf.data.split import read_split


def test_small_run_times_both_methods():
    result = conversion.run_benchmark(images=40, repeats=1)
    assert result["images"] == 40
    assert min(result["ours_s"], result["reference_s"]) > 0


def test_nobody_is_in_both_train_and_test(tmp_path):
    dataset = conversion.make_dataset(tmp_path, 100)
    people = {split: set(read_split(dataset, split).labels.identity) for split in ("train", "query", "gallery")}
    assert people["query"] <= people["gallery"]
    assert not people["train"] & people["gallery"]
