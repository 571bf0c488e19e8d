"""The command-line tool pretrain_pose, run in a process of its own."""

import subprocess
import sys


def run(*flags):
    command = [sys.executable, "-m", "lrdnn_tf.pretrain_pose", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_wrong_folder_ends_in_one_line_with_the_remedy(tmp_path):
    done = run(f"--data_dir={tmp_path}", f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "data_prep.coco" in errors[0] and str(tmp_path) in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
