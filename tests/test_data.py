"""Every form in which people have these digits, written here byte for byte, then cut, lost, mixed up and made hostile."""

import builtins
import gzip
import io
import math
import os
import pickle
import shutil
import struct
import subprocess
import tracemalloc
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch.testing import assert_close

from minibatch_mlp import data
from minibatch_mlp.data import ArrayUnpickler, load_mnist, read_idx
from minibatch_mlp.dataloader import Dataset
from minibatch_mlp.loss import cross_entropy
from minibatch_mlp.module import MLP

exactly = partial(assert_close, rtol=0, atol=0)
idx_codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
roles = "x_train", "y_train", "x_test", "y_test"
idx_names = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
qmnist_names = (
    "qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int",
    "qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int",
)  # fmt: skip


def as_idx(array):
    array = np.asarray(array)
    code = idx_codes[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def emnist_names(split):
    return [f"emnist-{split}-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]


def digits(n_train=120, n_test=40, first=0, n_classes=10, seed=0):
    "A data set of random pictures, as its four arrays."
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (n_train, n_test)]
    labels = [(np.arange(n) % n_classes + first).astype(np.uint8) for n in (n_train, n_test)]
    return dict(zip(roles, (pictures[0], labels[0], pictures[1], labels[1])))


def write(folder, arrays, names=idx_names, compressed=False, to_bytes=as_idx):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays.values()):
        content = to_bytes(array)
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content, 1) if compressed else content)
    return folder


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def transposed(arrays):
    return arrays | {role: arrays[role].swapaxes(1, 2) for role in ("x_train", "x_test")}


def flat(arrays):
    return arrays | {role: arrays[role].reshape(-1, 784) for role in ("x_train", "x_test")}


def is_the_same(loaded, arrays, first=0):
    "All pictures and labels are those of `arrays`, and the last sixth of the training set is for validation."
    n = len(arrays["y_train"]) - len(arrays["y_train"]) // 6
    x, y = (torch.tensor(arrays[role].astype(np.float32 if role == "x_train" else np.int64)) for role in roles[:2])
    x, y = x.reshape(-1, 784) / 256, y - first
    exactly(tuple(loaded.train), (x[:n], y[:n]))
    exactly(tuple(loaded.valid), (x[n:], y[n:]))
    exactly(loaded.test.x, torch.tensor(arrays["x_test"].astype(np.float32)).reshape(-1, 784) / 256)
    exactly(loaded.test.y, torch.tensor(arrays["y_test"].astype(np.int64)) - first)


def message(path, exc=ValueError, **kwargs):
    with pytest.raises(exc) as raised:
        load_mnist(path, **kwargs)
    return str(raised.value)


# The format of the bytes


any_shape = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.sampled_from(list(idx_codes)).flatmap(lambda dtype: st_numpy.arrays(dtype, any_shape)))
def test_idx_of_every_type_and_shape(array):
    found = read_idx(as_idx(array))
    assert found.dtype == array.dtype and found.shape == array.shape and found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("dtype", idx_codes)
def test_idx_cut_anywhere(dtype):
    whole = as_idx(np.arange(6, dtype=dtype).reshape(2, 3))
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="promises|not an IDX file"):
            read_idx(whole[:end])
    with pytest.raises(ValueError, match="follow"):
        read_idx(whole + b"\0")


def test_idx_codes_that_are_none():
    for code in set(range(256)) - set(idx_codes.values()):
        with pytest.raises(ValueError, match="not an IDX file"):
            read_idx(bytes([0, 0, code, 1, 0, 0, 0, 1, 7]) + bytes(7))


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    huge = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    lies = {"train-idx": huge, "many-dimensions": bytes([0, 0, 8, 255]) + b"\xff" * 1020, "train.npy": header.getvalue()}
    with zipfile.ZipFile(tmp_path / "train.npz", "w") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    for name, content in lies.items():
        (tmp_path / name).write_bytes(content)
    for path in tmp_path.iterdir():
        tracemalloc.start()
        assert "not a whole data set" in message(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


def test_files_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_most_bytes", 10**6)
    zeros = as_idx(np.zeros((2000, 28, 28), np.uint8))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(zeros))
    (tmp_path / "plain").write_bytes(zeros)
    (tmp_path / "bomb.npz").write_bytes(npz(x_train=np.zeros((2000, 28, 28), np.uint8)))
    for path in tmp_path.iterdir():
        text = message(path)
        assert "1,000,000" in text, text


# Where people have them


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw", "QMNIST/raw"])
def test_folders_of_torchvision(tmp_path, place, compressed):
    arrays = digits()
    write(tmp_path / place, arrays, compressed=compressed)
    for path in {tmp_path, (tmp_path / place).parent, tmp_path / place} if place else [tmp_path]:
        is_the_same(load_mnist(path), arrays)


def test_compressed_and_not_side_by_side(tmp_path):  # torchvision leaves both
    arrays = digits()
    write(write(tmp_path, arrays), arrays, compressed=True)
    is_the_same(load_mnist(tmp_path), arrays)
    write(tmp_path, {"x_train": 255 - arrays["x_train"]})
    text = message(tmp_path)
    assert "differ, and both could be x_train" in text and "train-images-idx3-ubyte.gz" in text


def test_qmnist_at_its_true_size(tmp_path):
    arrays = {}
    rng = np.random.default_rng(0)
    some = rng.integers(0, 256, (1000, 28, 28), dtype=np.uint8)
    for part in ("train", "test"):  # both have 60,000: their names alone tell them apart
        arrays[f"x_{part}"] = np.resize(some[::-1] if part == "test" else some, (60000, 28, 28))
        arrays[f"y_{part}"] = rng.integers(0, 2600, (60000, 8), dtype=np.int32)
        arrays[f"y_{part}"][:, 0] = np.arange(60000) % 10 if part == "train" else np.arange(60000) % 7
    raw = write(tmp_path / "QMNIST" / "raw", arrays, qmnist_names)
    classes = arrays | {role: arrays[role][:, 0] for role in ("y_train", "y_test")}
    is_the_same(load_mnist(tmp_path), classes)
    # the same labels once more, in MNIST's form, as they lie in QMNIST's repository
    write(raw, {"y_test": classes["y_test"].astype(np.uint8)}, ["qmnist-test-labels-idx1-ubyte"], compressed=True)
    assert load_mnist(tmp_path).test.y.tolist() == classes["y_test"].tolist()


def test_emnist_letters_at_their_true_size(tmp_path):
    small = digits(2600, 520, first=1, n_classes=26)
    sizes = 124_800, 124_800, 20_800, 20_800
    arrays = {role: np.resize(array, (size, *array.shape[1:])) for (role, array), size in zip(small.items(), sizes)}
    write(tmp_path, transposed(arrays), emnist_names("letters"))
    with pytest.warns(UserWarning, match="turned upright"):
        text = message(tmp_path)
    assert "26 classes from 1 to 26" in text and "labels=range(1, 27)" in text and "MLP(784, 50, 26)" in text
    with pytest.warns(UserWarning, match="turned upright"):
        letters = load_mnist(tmp_path, labels=range(1, 27))
    is_the_same(letters, arrays, first=1)
    assert len(letters.valid.y) == 20_800


def test_letters_train_a_model_as_the_message_says(tmp_path):
    (tmp_path / "letters.npz").write_bytes(npz(**digits(260, 52, first=1, n_classes=26)))
    train = load_mnist(tmp_path, labels=range(1, 27)).train
    xb, yb = Dataset(*train)[:50]
    loss = cross_entropy(MLP(784, 50, 26)(xb), yb)
    loss.backward()
    assert abs(loss.item() - math.log(26)) < 0.5


def test_47_classes_from_0(tmp_path):
    arrays = digits(470, 94, n_classes=47)
    write(tmp_path, arrays, compressed=True)
    text = message(tmp_path)
    assert "47 classes from 0 to 46" in text and "labels=range(0, 47)" in text and "MLP(784, 50, 47)" in text
    is_the_same(load_mnist(tmp_path, labels=range(47)), arrays)


def test_all_of_emnist_in_one_folder(tmp_path):
    splits = {split: digits(seed=i) for i, split in enumerate(("balanced", "byclass", "bymerge", "digits", "letters", "mnist"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for split, arrays in splits.items():
            write(tmp_path / "EMNIST" / "raw", transposed(arrays), emnist_names(split))
        text = message(tmp_path)
        assert "emnist-digits-*" in text and "emnist-byclass-test-images" in text
        for split, arrays in splits.items():
            is_the_same(load_mnist(tmp_path / "EMNIST" / "raw" / f"emnist-{split}-*"), arrays)
    message(tmp_path / "EMNIST" / "raw" / "kmnist-*", FileNotFoundError)
    message(tmp_path / "none" / "kmnist-*", FileNotFoundError)


def test_only_emnist_is_turned(tmp_path, recwarn):
    arrays = digits()
    for names in (idx_names, qmnist_names, [f"not-{name}" for name in emnist_names("digits")]):
        is_the_same(load_mnist(write(tmp_path / names[0], arrays, names)), arrays)
    assert not recwarn.list


@pytest.mark.parametrize(
    "ending, to_bytes", [("npz", lambda array: npz(arr_0=array)), ("npy", npy), ("npz", lambda array: npz(images=array))]
)
def test_numpy_files(tmp_path, ending, to_bytes):
    arrays = digits()
    names = [f"kmnist-{name}.{ending}" for name in ("train-imgs", "train-labels", "test-imgs", "test-labels")]
    is_the_same(load_mnist(write(tmp_path / "a", arrays, names, to_bytes=to_bytes)), arrays)
    is_the_same(load_mnist(write(tmp_path / "b", arrays, [f"{role}.{ending}" for role in roles], to_bytes=to_bytes)), arrays)
    is_the_same(load_mnist(write(tmp_path / "c", flat(arrays), names, to_bytes=to_bytes)), arrays)


def test_one_file_with_everything(tmp_path):
    arrays = digits()
    floats = flat(arrays) | {role: flat(arrays)[role].astype(np.float32) / 256 for role in ("x_train", "x_test")}
    three = tuple((floats[f"x_{part}"], floats[f"y_{part}"].astype(np.int64)) for part in ("train", "test", "test"))
    words = dict(zip(("train_img", "train_label", "test_img", "test_label"), arrays.values()))
    contents = {"keras": npz(**arrays), "dict": pickle.dumps(words), "words.npz": npz(**words)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        is_the_same(load_mnist(tmp_path / name), arrays)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        is_the_same(load_mnist(tmp_path / f"{name}.gz"), arrays)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "classic").write_bytes(pickle.dumps(three, protocol))
        loaded = load_mnist(tmp_path / "classic")
        exactly(loaded.train.x, torch.tensor(floats["x_train"]))  # nothing is held out where there is a validation set
        exactly(loaded.valid, loaded.test)


def test_a_folder_that_holds_one_such_file(tmp_path):  # the seed's `data/mnist.pkl.gz`
    arrays = digits()
    (tmp_path / "mnist.npz").write_bytes(npz(**arrays))
    (tmp_path / "README.md").write_text("digits")
    is_the_same(load_mnist(tmp_path), arrays)


def test_sizes_of_mnist_tell_the_parts_where_names_do_not(tmp_path):
    some = digits(1000, 1000)
    arrays = {role: np.resize(array, (60000 if "train" in role else 10000, *array.shape[1:])) for role, array in some.items()}
    is_the_same(load_mnist(write(tmp_path, arrays, "dbca")), arrays)


def test_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    arrays = digits()
    write(tmp_path / "data", arrays)
    for path in ("~/data", Path("~/data"), "~/data/*-ubyte"):
        is_the_same(load_mnist(path), arrays)
    assert "absent" in message("~/absent", FileNotFoundError)
    message("~no-such-user/data", FileNotFoundError)


# Folders as they are


def test_what_lies_in_between_is_passed_over(tmp_path):
    arrays = digits()
    write(tmp_path, arrays)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\x01Bud1" + bytes(100))
    (tmp_path / "mnist.csv").write_text("5,0,0\n")
    (tmp_path / "(notes).txt").write_text("(not a pickle)")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Path("x")))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"some text"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"some text")[:7])
    (tmp_path / "xnist-labels-idx2-int.xz").write_bytes(b"\xfd7zXZ\0")
    (tmp_path / "weights.npy").write_bytes(npy(np.zeros((784, 10))))
    (tmp_path / "losses.npy").write_bytes(npy(np.zeros(30)))
    with zipfile.ZipFile(tmp_path / "report.docx", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    (tmp_path / "train-images-idx3-ubyte.d").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "pipe")
    is_the_same(load_mnist(tmp_path), arrays)


def test_links(tmp_path):
    arrays = digits()
    real = write(tmp_path / "real", arrays)
    (tmp_path / "folder").symlink_to(real)
    (tmp_path / "files").mkdir()
    for name in idx_names:
        (tmp_path / "files" / name).symlink_to(real / name)
    for name in ("folder", "files"):
        is_the_same(load_mnist(tmp_path / name), arrays)
    (tmp_path / "files" / idx_names[0]).unlink()
    (tmp_path / "files" / idx_names[0]).symlink_to(tmp_path / "absent")
    text = message(tmp_path / "files")
    assert "x_train not found" in text and f"{idx_names[0]} (not a file)" in text


def test_a_folder_named_like_a_file(tmp_path):
    arrays = digits()
    write(tmp_path, dict(list(arrays.items())[1:]), idx_names[1:])
    (tmp_path / idx_names[0]).mkdir()
    assert f"{idx_names[0]} (a folder)" in message(tmp_path)
    is_the_same(load_mnist(write(tmp_path / idx_names[0], arrays)), arrays)


@pytest.mark.parametrize("missing", [{0}, {3}, {0, 1}, {2, 3}, {0, 2}, {1, 3}, {0, 1, 2}])
def test_missing_files(tmp_path, missing):
    arrays = digits()
    write(tmp_path, arrays)
    for i in missing:
        (tmp_path / idx_names[i]).unlink()
    text = message(tmp_path)
    lacking, found = text.split(" not found in ")
    for i, (role, name) in enumerate(zip(roles, idx_names)):
        assert (role in lacking) == (i in missing)
        assert (name in found) == (i not in missing)
    assert str(tmp_path) in lacking and " bytes, shape (" in found


def test_a_folder_without_data_is_described(tmp_path):
    assert "not found in nothing" in message(tmp_path)
    (tmp_path / "notes.txt").write_text("x" * 1234)
    (tmp_path / "sub").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train.csv").write_text("1")
    text = message(tmp_path)
    for words in ("notes.txt (1,234 bytes)", "sub (a folder)", f"raw{os.sep}train.csv (1 bytes)", "Fashion-MNIST"):
        assert words in text
    assert "[]" not in text
    for i in range(100):
        (tmp_path / f"{i:03}.png").write_bytes(b"\x89PNG")
    text = message(tmp_path)
    assert "000.png (4 bytes)" in text and "and 92 more" in text and len(text) < 1500


def test_two_data_sets(tmp_path):
    for name, seed in (("MNIST", 1), ("FashionMNIST", 2)):
        write(tmp_path / name / "raw", digits(seed=seed))
    text = message(tmp_path)
    assert str(tmp_path / "MNIST" / "raw") in text and str(tmp_path / "FashionMNIST" / "raw") in text and "path of one" in text
    is_the_same(load_mnist(tmp_path / "FashionMNIST"), digits(seed=2))
    shutil.rmtree(tmp_path / "MNIST")
    is_the_same(load_mnist(tmp_path), digits(seed=2))


def test_parts_of_two_folders_are_not_put_together(tmp_path):
    arrays = digits()
    write(tmp_path / "MNIST" / "raw", dict(list(arrays.items())[:2]))
    write(tmp_path / "KMNIST" / "raw", dict(list(arrays.items())[2:]), idx_names[2:])
    assert "path of one" in message(tmp_path)


def test_mixed_up_files_of_one_folder(tmp_path):
    write(tmp_path, digits())
    write(tmp_path, digits(seed=1), [f"kmnist-{name}" for name in idx_names])
    assert "both could be" in message(tmp_path)
    for name in ("x_train", "y_test"):  # the pictures of one and the labels of another
        folder = tmp_path / name
        write(folder, digits() | {name: digits(60, 20)[name]})
        assert f"x_{name[2:]} has shape ({'60' if name == 'x_train' else '40'}, 28, 28)" in message(folder)


def test_an_unreadable_file(tmp_path, monkeypatch):
    write(tmp_path, digits())
    unreadable = tmp_path / idx_names[2]
    real_open = io.open

    def refusing(file, *args, **kwargs):  # as the superuser, who may run the tests, may read everything
        if Path(file) == unreadable:
            raise PermissionError(13, "Permission denied", str(file))
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", refusing)
    monkeypatch.setattr(builtins, "open", refusing)
    assert idx_names[2] in message(tmp_path, PermissionError)
    message(unreadable, PermissionError)


# Damaged files


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", idx_names)
def test_files_cut_short(tmp_path, name, compressed):
    path = write(tmp_path, digits(), compressed=compressed) / (f"{name}.gz" if compressed else name)
    whole = path.read_bytes()
    for size in (0, 1, 3, 4, 7, 12, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        text = message(tmp_path)
        assert f"{path.name} ({size:,} bytes" in text, (size, text)
        if size > 40:
            assert "cut short, damaged" in text and ("promises" in text or "ended before" in text), text
    assert "not a whole data set" in message(path)


def test_a_flipped_bit(tmp_path):
    arrays = digits()
    whole, path, refused = npz(**arrays), tmp_path / "flipped.npz", 0
    for place in np.linspace(0, len(whole) - 1, 80).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            is_the_same(load_mnist(path), arrays)  # some bits are the date of a member, and the like
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 70


not_data = (
    b"", b"\0", b"<!DOCTYPE html><html>403 Forbidden</html>", b"\x89PNG\r\n\x1a\n", b"\x80", b"(", b"PK\x03\x04", b"\x93NUMPY",
    gzip.compress(b"", mtime=0), gzip.compress(b"<html>", mtime=0), pickle.dumps([1, 2, 3]), pickle.dumps(None),
    pickle.dumps({1: 2}), pickle.dumps([([], [])] * 2),
)  # fmt: skip


@pytest.mark.parametrize("content", not_data)
def test_what_is_not_data(tmp_path, content):
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(content)
    text = message(path)
    assert "not a whole data set" in text and "mnist.pkl.gz (" in text and "It begins with b" in text


def test_wrong_arrays(tmp_path):
    arrays = digits()
    x, y = arrays["x_test"], arrays["y_test"].astype(np.int64)
    path = tmp_path / "mnist.npz"
    for role, wrong, words in (
        ("x_test", x[:, :27], "x_test has shape (40, 27, 28)"),
        ("x_test", x[:39], "x_test has shape (39, 28, 28) and y_test (40,)"),
        ("x_test", x[:0], "(0, 28, 28)"),
        ("x_test", x.astype(np.float32), "float32 from 0 to 255"),
        ("x_test", x.astype(np.int32), "int32 from 0 to 255"),
        ("x_test", np.full((40, 784), np.nan, np.float32), "from nan to nan"),
        ("x_test", (x / 128 - 1).astype(np.float32), "from -1 to"),
        ("y_test", y[:-1], "(39,)"),
        ("y_test", y.astype(np.float32), "y_test holds float32"),
        ("y_test", y == 1, "y_test holds bool"),
        ("y_test", np.eye(10, dtype=np.int64)[y], "(40, 10)"),
        ("y_test", np.where(np.arange(40) == 7, -1, y), "the label -1 at position 7, outside 0 to 9"),
        ("y_test", np.where(np.arange(40) == 7, 10, y), "the label 10 at position 7, outside 0 to 9"),
        ("y_test", np.where(np.arange(40) == 7, 255, y).astype(np.uint8), "11 classes from 0 to 255"),
        ("y_test", np.where(np.arange(40) == 7, 2**64 - 1, y.astype(np.uint64)), "the label 18446744073709551615 at"),
    ):
        path.write_bytes(npz(**arrays | {role: wrong}))
        text = message(path)
        assert words in text and str(path) in text, text
    path.write_bytes(npz(**arrays, x_valid=x))
    assert "y_valid not found" in message(path)
    path.write_bytes(npz(**{role: array[:5] for role, array in arrays.items()}))
    assert "5 training pictures, too few" in message(path)
    path.write_bytes(npz(**arrays | {"x_test": (x / 255).astype(np.float32)}))  # 1 is allowed
    assert load_mnist(path).test.x.max() == 1


def test_labels_are_a_range():
    for bad in (10, None, [0, 1], range(0), range(0, 10, 2), range(9, -1, -1)):
        assert repr(bad) in message(None, labels=bad)
    assert "the label 5 at position 0, outside 0 to 4" in message(None, labels=range(5))
    assert load_mnist(labels=range(12)).train.y.max() == 9


# Hostile files


class Evil:
    def __init__(self, func, *args):
        self.call = func, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("func", [os.system, eval, exec, getattr, open, np.load, np.fromfile, np.lib.format.open_memmap,
                                  subprocess.getoutput, __import__, torch.load], ids=lambda func: func.__name__)  # fmt: skip
def test_a_pickle_runs_nothing(tmp_path, func):
    for payload in (Evil(func, "true"), [np.arange(3), {"x": Evil(func, "true")}]):
        for protocol in (0, 2, 5):
            content = pickle.dumps(payload, protocol)
            with pytest.raises(pickle.UnpicklingError, match=f"asks for .*{func.__name__}.* nothing was run"):
                ArrayUnpickler(io.BytesIO(content)).load()
            for path in (tmp_path / "mnist.pkl", tmp_path / "mnist.pkl.gz"):
                path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
                if content.startswith((b"\x80", b"(")):
                    message(path, pickle.UnpicklingError)
                else:  # it begins with the name of a function, and is not even tried
                    assert "not a whole data set" in message(path)
            assert "not a whole data set" in message(tmp_path)


def test_a_pickle_claims_no_more_than_it_has(tmp_path):
    small, labels = Evil(np.ndarray, (10**7, 784), "u1"), Evil(np.ndarray, (10**7,), "u1")
    shared = Evil(np.ndarray, (10**7, 784), "u1", b"0123", 0, (0, 0))  # the same byte, over and over
    for pictures in (small, shared):
        (tmp_path / "mnist.pkl").write_bytes(pickle.dumps([(pictures, labels)] * 3))
        text = message(tmp_path / "mnist.pkl")
        assert "x_train claims 7,840,000,000 bytes" in text or "MemoryError" in text or "Unable to allocate" in text


def test_a_file_of_numpy_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    objects = np.array([Evil(os.system, f"touch {ran}")] * 6, dtype=object)
    for name, to_bytes in (("x_train.npy", npy), ("mnist.npz", lambda array: npz(x_train=array, y_train=array))):
        (tmp_path / name).write_bytes(to_bytes(objects))
        assert "allow_pickle=False" in message(tmp_path / name)
    assert not ran.exists()


def test_an_array_as_python_2_wrote_it():
    python2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x03\x85"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x07\xe9\xfftb."
    )
    found = ArrayUnpickler(io.BytesIO(python2), encoding="latin-1").load()
    np.testing.assert_array_equal(found, np.array([7, 0xE9, 255], dtype=np.uint8))
