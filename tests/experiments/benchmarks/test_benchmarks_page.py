import pathlib

from experiments.benchmarks import __main__ as bench

FOLDER = pathlib.Path(bench.__file__).parent


def test_the_page_has_a_row_per_benchmark_with_and_without_a_reference():
    shared = {"ours_s": 2.0, "peak_mb": 1234.5}
    with_reference = {"benchmark": "a", **shared, "reference_s": 8.0, "speedup": 4.0, "mAP": 0.5}
    without = {"benchmark": "b", **shared, "reference_s": None, "speedup": None, "images": 7}
    lines = bench.page([with_reference, without]).splitlines()
    assert "| a | 2 s | 8 s | 4.0 | 1,234 MB |" in lines
    assert "| b | 2 s | - | - | 1,234 MB |" in lines
    assert "**a**: mAP 0.5" in lines


def test_every_benchmark_of_the_folder_is_run():
    assert sorted(bench.BENCHMARKS) == sorted(
        path.stem for path in FOLDER.glob("*.py") if "def run_benchmark(" in path.read_text()
    )
