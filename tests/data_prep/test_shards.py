"""A dataset folder is complete, or it does not exist."""

import concurrent.futures
import pathlib
import resource
import subprocess
import sys

import pytest
import tensorflow as tf

from data_prep import shards
from lrdnn_base.errors import InputError


@pytest.fixture
def write(tmp_path, jpeg):
    """write(folder, items, shards): the items are numbers; encode raises for negative ones."""
    path = tmp_path.parent / f"{tmp_path.name}.jpg"
    path.write_bytes(jpeg(0))

    def encode(item, image):
        if item < 0:
            raise shards.BadImageError(f"image {item}")
        return b"%06d" % item + image.content

    return lambda folder, items, number: shards.write_split(folder, "train", items, lambda item: path, encode, number)


def _left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_at_the_end_only(tmp_path):
    with shards.new_dataset(tmp_path / "new") as folder:
        assert not (tmp_path / "new").exists()
        (folder / "dataset.json").write_text("{}")
    assert _left(tmp_path) == ["new"]
    assert _left(tmp_path / "new") == ["dataset.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_failure_leaves_nothing(tmp_path, write, error):
    with pytest.raises(error), shards.new_dataset(tmp_path / "new") as folder:
        write(folder, range(10), 2)
        raise error
    assert _left(tmp_path) == []


@pytest.mark.parametrize("existing", ["folder", "file", "link"])
def test_existing_target_is_kept(tmp_path, existing):
    target = tmp_path / "out"
    {"folder": target.mkdir, "file": target.touch, "link": lambda: target.symlink_to("nowhere")}[existing]()
    with pytest.raises(InputError, match="exists already"), shards.new_dataset(target):
        pass
    assert _left(tmp_path) == ["out"]


def test_target_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be created"), shards.new_dataset(tmp_path / "file" / "out"):
        pass


def test_next_conversion_cleans_up_after_a_killed_one(tmp_path):
    """Temporary folders of dead processes are removed, those of running ones are kept."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".out.partial-{gone.pid}").mkdir()
    (tmp_path / ".out.partial-1").mkdir()
    (tmp_path / f".other.partial-{gone.pid}").mkdir()
    with shards.new_dataset(tmp_path / "out"):
        pass
    assert _left(tmp_path) == sorted([f".other.partial-{gone.pid}", ".out.partial-1", "out"])


def test_full_disk_is_reported_and_leaves_nothing(tmp_path, write):
    """A limit on file sizes makes a write fail as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(InputError, match=f"{tmp_path}/out: cannot be written") as error,
            shards.new_dataset(tmp_path / "out") as folder,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
            write(folder, range(1000), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "too large" in str(error.value) and "\n" not in str(error.value)
    assert _left(tmp_path) == []


@pytest.mark.parametrize("full", ["shard", "description"])
def test_no_space_left_is_reported_and_leaves_nothing(tmp_path, write, monkeypatch, full):
    """A shard or dataset.json is written to /dev/full, which has no space."""
    if full == "shard":
        writer = tf.io.TFRecordWriter
        monkeypatch.setattr(tf.io, "TFRecordWriter", lambda path: writer("/dev/full"))
    else:
        monkeypatch.setattr(shards, "write_json", lambda path, content: pathlib.Path("/dev/full").write_text("{}"))
    with pytest.raises(InputError) as error, shards.new_dataset(tmp_path / "out") as folder:
        write(folder, range(10), 1)
        shards.write_description(folder, "reid", "small")
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/out: cannot be written") and "No space left on device" in message
    assert "\n" not in message
    assert _left(tmp_path) == []


@pytest.mark.parametrize("items, number", [(10, 1), (10, 3), (2, 4), (0, 2), (1300, 2)])
def test_order_is_kept_over_shards(tmp_path, write, items, number):
    written = write(tmp_path, range(items), number)
    names = [f"train-{shard:05}-of-{number:05}.tfrecord" for shard in range(number)]
    assert [shard["file"] for shard in written.shards] == names
    assert sum(shard["examples"] for shard in written.shards) == items
    paths = [str(tmp_path / shard["file"]) for shard in written.shards]
    assert [int(record[:6]) for record in tf.data.TFRecordDataset(paths).as_numpy_iterator()] == list(range(items))


def test_bad_images_are_left_out_and_listed(tmp_path, write):
    written = write(tmp_path, [0, -1, 2, -3], 2)
    assert written.items == [0, 2]
    assert written.bad_images == ["image -1", "image -3"]
    assert [shard["examples"] for shard in written.shards] == [1, 1]
    with pytest.raises(InputError, match=r"2 bad images: image -1, image -3; .*--skip_bad_images"):
        shards.check_bad_images(written.bad_images, skip=False)
    shards.check_bad_images(written.bad_images, skip=True)


def test_every_bad_image_is_in_the_log(caplog):
    names = [f"image {number}" for number in range(20)]
    with pytest.raises(InputError, match="20 bad images: image 0, ") as error:
        shards.check_bad_images(names, skip=False)
    assert "\n" not in str(error.value)
    assert all(f": {name}\n" in caplog.text for name in names)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda content: b"", "empty"),
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content[:-2], "truncated"),
        (lambda content: b"\0" * 100 + content[100:], "corrupt"),
        (lambda content: b"hello", "not an image"),
    ],
)
def test_damaged_images_are_found(tmp_path, jpeg, damage, words):
    """Damaged images are found among good ones, and good ones are kept."""
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths[:3]):
        path.write_bytes(jpeg(number, height=64 + 8 * number))
    paths[1].write_bytes(damage(jpeg(1)))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first, bad, third, missing = shards.read_images(paths, pool)
    assert first == (jpeg(0, height=64), 64, 64) and third == (jpeg(2, height=80), 80, 64)
    assert str(paths[1]) in str(bad) and words in str(bad)
    assert str(missing) == f"{paths[3]} (No such file or directory)"


def test_sizes_of_no_images():
    assert shards.image_sizes([]) == []
