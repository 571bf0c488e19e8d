import concurrent.futures
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from experiments.benchmarks import loopback_server
from experiments.benchmarks.loopback_server import LoopbackServer, read_batching
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.split import read_split
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import RefusedImage, embed
from lrdnn_tf.serving.client import GrpcClient, RestClient, ServerError, connect

PROTOCOLS = ("grpc", "rest")
GOOD = (
    "png",
    "jpeg",
    "progressive jpeg",
    "gray png",
    "gray jpeg",
    "palette png",
    "rgba png",
    "16-bit png",
    "16-bit gray png",
    "cmyk jpeg",
    "1x1 png",
)
BAD = (
    "empty",
    "text",
    "gif",
    "truncated jpeg",
    "truncated png",
    "only the start of a jpeg",
    "only the start of a png",
    "png of 20000x20000",
    "jpeg of 20000x20000",
)


def client_of(server, protocol, **options):
    return connect(server.grpc_address if protocol == "grpc" else server.rest_address, **options)


@pytest.fixture(params=PROTOCOLS)
def client(request, server):
    with client_of(server, request.param) as client:
        yield client


@pytest.fixture(params=["local", *PROTOCOLS])
def model(request, local_model, server):
    """The model, loaded in this process or behind each protocol."""
    if request.param == "local":
        yield local_model
    else:
        with client_of(server, request.param) as client:
            yield client


@pytest.fixture
def predict(monkeypatch):
    """A list of functions that the next loopback server calls, one per request, instead of the model."""
    behaviours = []
    monkeypatch.setattr(loopback_server, "_predict_function", lambda *_: lambda *request: behaviours.pop(0)(*request))
    return behaviours


def assert_same(found, expected, atol=0):
    for name in ("embeddings", "classes", "scores"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=atol)


def test_evaluation_the_model_and_the_clients_agree_on_a_file(trained_run, tiny_dataset, model):
    files = read_split(tiny_dataset, "query").image_files(range(6))
    network, config = runs.load_model(trained_run, "fusion")
    images = next(iter(read_split(tiny_dataset, "query").batches(config.height, config.width, 6)))
    outputs = network(images, training=False)
    for batch_size in (6, 4, 1):
        found, refused = embed(model, files, batch_size)
        assert not refused
        np.testing.assert_allclose(found.embeddings, outputs["embedding"], atol=1e-5)
        for column, task in enumerate(config.attributes):
            probabilities = tf.nn.softmax(outputs[task.name]).numpy()
            np.testing.assert_allclose(found.scores[:, column], probabilities.max(axis=1), atol=1e-5)


def test_clients_describe_the_model_as_it_describes_itself(client, local_model, tiny_dataset):
    description = client.describe()
    assert description == local_model.describe()
    assert description.tasks == tiny_dataset.attributes
    assert description.embedding_size == 128


def test_a_model_without_attributes(identity_export, crops):
    with LoopbackServer(identity_export) as server:
        for protocol in PROTOCOLS:
            with client_of(server, protocol) as client:
                assert client.describe().tasks == ()
                found = client.predict(crops[:2])
                assert (found.embeddings.shape, found.classes.shape) == ((2, 256), (2, 0))


def test_batches_in_parallel_keep_their_order(client, local_model, crops):
    images = crops * 5
    found, refused = embed(client, images, batch_size=4, parallel=6)
    assert not refused
    assert_same(found, embed(local_model, images, batch_size=4)[0], atol=1e-6)


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_image_is_read_as_its_pixels_are(name, good_images, export_dir, local_model):
    content, pixels, tolerance = good_images[name]
    np.testing.assert_allclose(
        tf.io.decode_image(content, channels=3).numpy().astype(int), pixels.astype(int), atol=tolerance
    )
    if not tolerance:
        signatures = tf.saved_model.load(str(export_dir / "1")).signatures
        expected = signatures["embed_pixels"](pixels=tf.constant(pixels[np.newaxis]))["embedding"]
        np.testing.assert_allclose(local_model.predict([content]).embeddings, expected, atol=1e-5)
    assert np.isfinite(local_model.predict([content]).embeddings).all()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_with_the_reason_and_the_next_request_is_answered(name, model, good_images, bad_images):
    content, message = bad_images[name]
    with pytest.raises(RefusedImage, match=message) as error:
        model.predict([content])
    assert "\n" not in str(error.value)
    assert "node" not in str(error.value)
    assert len(model.predict([good_images["png"][0]])) == 1


def test_a_bad_image_does_not_affect_the_others_of_its_batch(model, local_model, crops, bad_images):
    images = [crops[0], b"text", crops[1], bad_images["truncated png"][0], crops[2]]
    found, refused = embed(model, images, batch_size=3)
    assert sorted(refused) == [1, 3]
    assert refused[1] == "not a JPEG or PNG image"
    assert_same(found, local_model.predict(crops[:3]), atol=1e-5)


def test_no_image_gives_no_answers(model, local_model):
    for found in (model.predict([]), embed(model, [])[0], embed(model, [b""])[0]):
        assert (found.embeddings.shape, found.classes.shape, found.scores.shape) == ((0, 128), (0, 12), (0, 12))


def test_requests_that_are_merged_get_their_own_answers(export_dir, identity_export, local_model, crops, tmp_path):
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } max_enqueued_batches { value: 64 }"
        " num_batch_threads { value: 1 } allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    )
    batching = read_batching(tmp_path / "batching.config")
    with LoopbackServer(identity_export, batching), LoopbackServer(export_dir, batching) as server:
        for protocol in PROTOCOLS:
            with client_of(server, protocol) as client:
                assert client.describe() == local_model.describe()
                found, refused = embed(client, [*crops, b"bad"], batch_size=1, parallel=8)
                assert sorted(refused) == [len(crops)]
                assert_same(found, embed(local_model, crops)[0], atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_down_is_an_error_after_retries(protocol):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}" if protocol == "grpc" else f"http://127.0.0.1:{port}"
    with connect(address, retries=2) as client, pytest.raises(ServerError, match=rf"{port} does not answer, 3 tries"):
        client.predict([b""])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_server_is_an_error_at_the_deadline(protocol, predict, export_dir):
    woken = threading.Event()
    predict.append(lambda *_: woken.wait(20))
    with LoopbackServer(export_dir) as server, client_of(server, protocol, timeout_s=0.3) as client:
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"did not answer within 0\.3 s"):
            client.predict([b""])
        assert time.monotonic() - start < 5
        woken.set()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_repeated_when_the_queue_of_the_server_is_full(protocol, predict, export_dir):
    def full(*_):
        raise tf.errors.UnavailableError(None, None, "The batch scheduling queue is full")

    outputs = {
        "embedding": np.ones([1, 4], np.float32),
        "attribute_classes": np.zeros([1, 0], np.int32),
        "attribute_scores": np.zeros([1, 0], np.float32),
    }
    predict += [full, full, lambda *_: outputs, full, full]
    with LoopbackServer(export_dir) as server, client_of(server, protocol, retries=2) as client:
        assert client.predict([b"x"]).embeddings.tolist() == [[1, 1, 1, 1]]
    with (
        LoopbackServer(export_dir) as server,
        client_of(server, protocol, retries=1) as client,
        pytest.raises(ServerError, match=r"2 tries .*queue is full"),
    ):
        client.predict([b"x"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_keeps_working_when_the_server_restarts(protocol, export_dir, local_model, crops):
    with LoopbackServer(export_dir) as first:
        port = int(first.grpc_address.split(":")[1] if protocol == "grpc" else first.rest_address.rsplit(":", 1)[1])
        client = client_of(first, protocol, retries=50, timeout_s=100)
        client.predict(crops[:1])
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answer = thread.submit(client.predict, crops[:2])
        time.sleep(0.3)
        ports = {"grpc_port": port} if protocol == "grpc" else {"rest_port": port}
        with LoopbackServer(export_dir, **ports):
            assert_same(answer.result(), local_model.predict(crops[:2]), atol=1e-5)
    client.close()


def test_a_model_that_the_server_does_not_have(server):
    for protocol in PROTOCOLS:
        client = client_of(server, protocol, model_name="another")
        with client, pytest.raises(ServerError, match=r"Servable not found .*another"):
            client.predict([b""])


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":8500", "http://localhost", "localhost:grpc"])
def test_a_malformed_address_is_named(address):
    with pytest.raises(InputError, match="expected HOST:PORT"):
        connect(address)


def test_a_server_of_another_protocol_is_an_error(server):
    for client in (
        GrpcClient(server.rest_address.removeprefix("http://"), timeout_s=3, retries=1),
        RestClient(f"http://{server.grpc_address}", timeout_s=3, retries=1),
    ):
        with client, pytest.raises(ServerError):
            client.predict([b""])


@pytest.mark.parametrize(
    "message, expected",
    [
        ("assertion failed: [9x9] [pixels, too many]\n\t [[{{node map/Assert}}]]", "9x9 pixels, too many"),
        ("2 root error(s) found.\n  (0) INVALID_ARGUMENT: Invalid PNG data\n\t [[{{node d}}]]", "Invalid PNG data"),
        ('Graph execution error:\n\nDetected at node a defined at:\n  File "b.py", line 1\n\nIt is so.\n', "It is so."),
        ("plain words", "plain words"),
    ],
)  # fmt: skip
def test_reasons_leave_the_graph_out(message, expected):
    assert answers.reason(message) == expected


def mutated(image: bytes, generator: np.random.Generator) -> bytes:
    """The image with some bytes changed, a piece removed, repeated or replaced by noise, or the end cut off."""
    content = bytearray(image)
    start, end = sorted(generator.integers(0, len(content), 2))
    match generator.integers(5):
        case 0:
            for index in generator.integers(0, len(content), generator.integers(1, 20)):
                content[index] = generator.integers(256)
        case 1:
            del content[start:end]
        case 2:
            content[start:start] = content[start:end]
        case 3:
            content[start:end] = generator.bytes(end - start)
        case 4:
            del content[start:]
    return bytes(content)


def test_two_thousand_mutated_images_are_answered_or_refused(server, local_model, good_images):
    generator = np.random.default_rng(0)
    originals = [content for content, *_ in good_images.values()]
    images = [mutated(originals[generator.integers(len(originals))], generator) for _ in range(2000)]
    with GrpcClient(server.grpc_address) as client:
        found, refused = embed(client, images, batch_size=1, parallel=4)
        assert len(found) + len(refused) == 2000
        assert len(found) > 100
        assert len(refused) > 100
        assert np.isfinite(found.embeddings).all()
        np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-5)
        assert_same(client.predict([originals[0]]), local_model.predict([originals[0]]), atol=1e-5)
