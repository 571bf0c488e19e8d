"""Runs a SavedModel with TensorFlow's C API alone, without TensorFlow's and this project's Python. A test runs it.

Arguments: folder of TensorFlow's libraries, SavedModel, name of the input and of an output tensor, image files.
Prints the output, float32, as JSON.
"""

import ctypes
import json
import pathlib
import sys

FLOAT, STRING = 1, 7
STRING_BYTES = 24  # size of a TF_TString


class Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def load(libraries: pathlib.Path) -> ctypes.CDLL:
    ctypes.CDLL(str(libraries / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    tf = ctypes.CDLL(str(libraries / "libtensorflow_cc.so.2"))
    for name in ("NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel", "GraphOperationByName"):
        getattr(tf, f"TF_{name}").restype = ctypes.c_void_p
    for name in ("AllocateTensor", "TensorData"):
        getattr(tf, f"TF_{name}").restype = ctypes.c_void_p
    tf.TF_Message.restype = ctypes.c_char_p
    tf.TF_TensorByteSize.restype = ctypes.c_size_t
    return tf


def check(tf: ctypes.CDLL, status: ctypes.c_void_p) -> None:
    if tf.TF_GetCode(status):
        sys.exit(tf.TF_Message(status).decode())


def find(tf: ctypes.CDLL, graph: ctypes.c_void_p, tensor: str) -> Output:
    name, index = tensor.split(":")
    return Output(tf.TF_GraphOperationByName(graph, name.encode()), int(index))


def strings(tf: ctypes.CDLL, values: list[bytes]) -> ctypes.c_void_p:
    shape = (ctypes.c_int64 * 1)(len(values))
    size = ctypes.c_size_t(STRING_BYTES * len(values))
    tensor = ctypes.c_void_p(tf.TF_AllocateTensor(STRING, shape, 1, size))
    start = tf.TF_TensorData(tensor)
    for number, value in enumerate(values):
        address = ctypes.c_void_p(start + STRING_BYTES * number)
        tf.TF_StringInit(address)
        tf.TF_StringCopy(address, value, ctypes.c_size_t(len(value)))
    return tensor


def main(libraries: str, saved_model: str, input_name: str, output_name: str, *files: str) -> None:
    tf = load(pathlib.Path(libraries))
    status, graph, options = (
        ctypes.c_void_p(make()) for make in (tf.TF_NewStatus, tf.TF_NewGraph, tf.TF_NewSessionOptions)
    )
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = ctypes.c_void_p(
        tf.TF_LoadSessionFromSavedModel(options, None, saved_model.encode(), tags, 1, graph, None, status)
    )
    check(tf, status)
    images = strings(tf, [pathlib.Path(file).read_bytes() for file in files])
    inputs, outputs = (Output * 1)(find(tf, graph, input_name)), (Output * 1)(find(tf, graph, output_name))
    given, found = (ctypes.c_void_p * 1)(images), (ctypes.c_void_p * 1)()
    tf.TF_SessionRun(session, None, inputs, given, 1, outputs, found, 1, None, 0, None, status)
    check(tf, status)
    tensor = ctypes.c_void_p(found[0])
    values = (ctypes.c_float * (tf.TF_TensorByteSize(tensor) // 4)).from_address(tf.TF_TensorData(tensor))
    size = len(values) // len(files)
    print(json.dumps([values[row * size : (row + 1) * size] for row in range(len(files))]))


if __name__ == "__main__":
    main(*sys.argv[1:])
