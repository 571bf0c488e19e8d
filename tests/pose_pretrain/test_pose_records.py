import numpy as np

from pose_pretrain.records import decode_ignore_mask, encode_example, parse_example


def encoded(people=2, mask=None, height=5, width=7):
    rng = np.random.default_rng(people)
    arrays = {
        "keypoints": rng.uniform(0, 9, (people, 17, 3)).astype(np.float32),
        "boxes": rng.uniform(0, 9, (people, 4)).astype(np.float32),
        "areas": rng.uniform(0, 9, people).astype(np.float32),
    }
    return encode_example(b"bytes", 123456789012, height, width, **arrays, ignore_mask=mask), arrays


def test_parsing_inverts_encoding():
    for people in (0, 1, 5):
        serialized, arrays = encoded(people)
        example = parse_example(serialized)
        assert example["image"].numpy() == b"bytes"
        assert [int(example[name]) for name in ("image_id", "height", "width")] == [123456789012, 5, 7]
        for name, array in arrays.items():
            np.testing.assert_array_equal(example[name], array)


def test_decoding_inverts_encoding_of_the_ignore_mask():
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    for stored in (mask, mask.astype(np.uint8)):
        serialized, _ = encoded(mask=stored)
        np.testing.assert_array_equal(decode_ignore_mask(parse_example(serialized))[..., 0], mask)


def test_without_an_ignore_mask_no_pixel_is_ignored():
    serialized, _ = encoded(mask=None)
    mask = decode_ignore_mask(parse_example(serialized))
    assert mask.shape == (5, 7, 1) and not mask.numpy().any()
