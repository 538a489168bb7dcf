"""Weights are read to the last byte, and whatever is not accounted for is refused in plain words."""

import io
import zipfile

import pytest

from novai_web.errors import UnusableMedia
from novai_web.library import safetensors
from novai_web.library.sniffing import sniff
from tests.weights import pickled, tensor, weights, whole


@pytest.fixture
def written(tmp_path):
    def write(content: bytes):
        path = tmp_path / "weights"
        path.write_bytes(content)
        return path

    return write


def test_a_lora_is_read_with_its_numbers_its_rank_and_its_notes(written):
    found = safetensors.read(written(weights(rank=8, notes={"ss_base_model": "wan-2.2"})))
    assert (found.tensors, found.parameters, found.types, found.rank) == (4, 256, ("F16",), 8)
    assert found.notes == {"ss_base_model": "wan-2.2"}


def test_it_is_known_by_its_bytes_whatever_its_length_begins_with(written):
    # 0xfbff is how an MP3 begins, too.
    content = weights()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    padded = whole(header + b" " * (0xFBFF - len(header)), content[8 + len(header) :])
    assert padded[:2] == b"\xff\xfb"
    assert sniff(written(padded)).extension == "safetensors"
    assert sniff(written(content)).kind == "model"


def test_an_empty_tensor_and_a_single_number_are_tensors(written):
    found = safetensors.read(written(whole({"a": tensor([0, 4], 0, 0), "b": tensor([], 0, 1)}, b"x")))
    assert (found.tensors, found.parameters) == (2, 1)


GOOD = {"a": tensor([4], 0, 4)}
ONE = b'"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
BAD = {
    "nothing": b"",
    "half of its length": b"\x10\0\0",
    "no header": b"\x10\0\0\0\0\0\0\0hello there, this is no JSON",
    "a header longer than the file": whole(GOOD, b"abcd", length=10_000),
    "a header of a gigabyte": whole(GOOD, b"abcd", length=1 << 30),
    "a header of more than there is in the world": b"\xff" * 8 + b"{",
    "a header that is a list": whole(b'{"a": 1}'.replace(b'{"a": 1}', b"[1,2]     "), b""),
    "JSON that ends": whole(b'{"a": {"dtype": "U8"', b""),
    "JSON that goes down without end": whole(b'{"a":' * 100_000, b""),
    "a number without end": whole(
        b'{"a": {"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', b"abcd"
    ),
    "no number": whole(b'{"a": {"dtype":"U8","shape":[NaN],"data_offsets":[0,4]}}', b"abcd"),
    "a fraction": whole(b'{"a": {"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}', b"abcd"),
    "a truth": whole({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"a"),
    "no tensors": whole({}, b""),
    "only notes": whole({"__metadata__": {"a": "b"}}, b""),
    "notes that are no words": whole({"__metadata__": {"a": {"b": 1}}, **GOOD}, b"abcd"),
    "the same name twice": whole(b"{" + b",".join([ONE, ONE]) + b"}", b"abcd"),
    "an unknown type": whole({"a": tensor([4], 0, 4, "PY")}, b"abcd"),
    "a type that is none": whole({"a": {"dtype": ["U8"], "shape": [4], "data_offsets": [0, 4]}}, b"abcd"),
    "something missing": whole({"a": {"dtype": "U8", "shape": [4]}}, b"abcd"),
    "something more": whole({"a": {**tensor([4], 0, 4), "code": "import os"}}, b"abcd"),
    "a shape that does not fit": whole({"a": tensor([5], 0, 4)}, b"abcd"),
    "a shape beyond all bounds": whole({"a": tensor([2**50, 2**50, 0], 0, 4)}, b"abcd"),
    "a negative shape": whole({"a": tensor([-2, -2], 0, 4)}, b"abcd"),
    "the end before the beginning": whole({"a": tensor([4], 4, 0)}, b"abcd"),
    "tensors that overlap": whole({"a": tensor([4], 0, 4), "b": tensor([4], 2, 6)}, b"abcdef"),
    "a gap between tensors": whole({"a": tensor([2], 0, 2), "b": tensor([2], 4, 6)}, b"abcdef"),
    "something behind the tensors": whole(GOOD, b"abcd" + pickled()),
    "an end that is missing": whole(GOOD, b"ab"),
    "a name without end": whole({"a" * 5000: tensor([4], 0, 4)}, b"abcd"),
    "seventeen dimensions": whole({"a": tensor([1] * 17, 0, 1)}, b"a"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_accounted_for_is_refused_in_a_sentence(written, what):
    with pytest.raises(UnusableMedia, match=r"Nothing was kept\.$"):
        safetensors.read(written(BAD[what]))


def test_a_pickle_is_called_what_it_is_and_not_opened(written, capsys):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", pickled())
    for content in (pickled(), packed.getvalue(), b"\x80\x02" + b"x" * 100):
        with pytest.raises(UnusableMedia, match="pickle"):
            safetensors.read(written(content))
        with pytest.raises(UnusableMedia, match="pickle"):
            sniff(written(content))
    assert "would have been run" not in capsys.readouterr().out


def test_many_tensors_are_too_many(written):
    header = {str(n): tensor([0], 0, 0) for n in range(safetensors.TENSORS_MAX + 1)}
    with pytest.raises(UnusableMedia, match=r"50,000 are the most"):
        safetensors.read(written(whole(header, b"")))
