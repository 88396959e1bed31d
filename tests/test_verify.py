"""`Codec.verify` and `aec verify`: sound files pass, every kind of damage is named."""

import json
import os
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import aec
from aec.format.chunks import pack_chunk
from aec.format.container import read_file, write_file
from aec.format.errors import (
    AecError,
    BackendMismatchError,
    FormatError,
    LimitError,
    ModelNotFoundError,
)
from aec.format.header import HEADER_SIZE
from aec.format.limits import Limits

aec_run = runpy.run_path(str(Path(__file__).with_name("running.py")))["aec_run"]


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def sound(codec: aec.Codec) -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (20, 33, 3), dtype=np.uint8)
    return codec.compress(pixels, quality=40, xmp=b"<x/>")


def other_model(data: bytes) -> bytes:
    head = data[:20] + bytes(8)
    return head + zlib.crc32(head).to_bytes(4, "little") + data[HEADER_SIZE:]


def wrong_word(data: bytes, at: int = 0) -> bytes:
    """The file with a bit of its coded data changed, and all checksums of the container right."""
    container = read_file(data)
    (tile,) = container.tiles
    payload = bytearray(tile.payload)
    payload[at] ^= 4
    changed = type(tile)(tile.number, tile.symbol_crc, bytes(payload))
    return write_file(container.header, [changed], container.metadata)


def wrong_symbol_crc(data: bytes) -> bytes:
    container = read_file(data)
    (tile,) = container.tiles
    changed = type(tile)(tile.number, tile.symbol_crc ^ 1, tile.payload)
    return write_file(container.header, [changed], container.metadata)


def outcome(call: object) -> str:
    try:
        call()  # type: ignore[operator]
    except AecError as error:
        return f"{type(error).__name__}: {error}"
    return "sound"


def test_verify_makes_no_pixels(
    codec: aec.Codec, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_args: object) -> None:
        raise AssertionError("synthesis was run")

    monkeypatch.setattr(codec.parts().decoder, "synthesis", unwanted)
    assert codec.verify(sound) is None
    assert codec.verify(bytearray(sound)) is None
    with pytest.raises(AssertionError, match="synthesis"):
        codec.decompress(sound)


@pytest.mark.spec("S-040", "S-173")
def test_verify_says_what_decompress_says(codec: aec.Codec, sound: bytes) -> None:
    cases = {
        "sound": sound,
        "TruncatedError": sound[:-1],
        "FormatError": sound + b"x",
        "ChecksumError": sound[:45] + bytes([sound[45] ^ 1]) + sound[46:],
        "ModelNotFoundError": other_model(sound),
        "BackendMismatchError": wrong_symbol_crc(sound),
    }
    for expected, data in cases.items():
        found = outcome(lambda data=data: codec.verify(data))
        assert found.split(":")[0] == expected
        assert found == outcome(lambda data=data: codec.decompress(data))


@pytest.mark.spec("S-114", "S-116")
def test_every_word_behind_right_checksums_is_checked(codec: aec.Codec, sound: bytes) -> None:
    length = len(read_file(sound).tiles[0].payload)
    for at in range(0, length, max(1, length // 40)):
        with pytest.raises((BackendMismatchError, FormatError)):
            codec.verify(wrong_word(sound, at))


def test_limits_hold(sound: bytes) -> None:
    small = aec.Codec(device="cpu", limits=Limits(max_side=32))
    with pytest.raises(LimitError, match="width 33 is over the limit"):
        small.verify(sound)


# The command


@pytest.fixture
def folder(tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("good.aec", sound),
        ("short.aec", sound[:-3]),
        ("word.aec", wrong_symbol_crc(sound)),
        ("model.aec", other_model(sound)),
        ("text.aec", b"Dear Sir or Madam,"),
        ("critical.aec", sound[:HEADER_SIZE] + pack_chunk("NEWC", b"x") + sound[HEADER_SIZE:]),
    ):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def verified(*args: object, **options: object) -> Result:
    return aec_run("verify", *args, **options)


def test_a_sound_file_is_one_line(folder: Path, sound: bytes) -> None:
    before = sorted(os.listdir())
    for options, start in (([], "good.aec: sound  "), (["--fast"], "good.aec: container sound  ")):
        result = verified("good.aec", *options)
        assert result.stdout == ""
        assert result.stderr.startswith(f"{start}33x20  {len(sound)} bytes  ")
        assert result.stderr.count("\n") == 1
    assert verified("good.aec", "--quiet").output == ""
    assert sorted(os.listdir()) == before


def test_each_file_is_judged(folder: Path, codec: aec.Codec) -> None:
    names = ["short.aec", "good.aec", "word.aec", "model.aec", "text.aec", "critical.aec"]
    result = verified(*names, "none.aec", "--json", code=1)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["input"] for row in rows] == [*names, "none.aec"]
    for row in rows[:-1]:
        assert row["fast"] is False
        data = Path(row["input"]).read_bytes()
        said = outcome(lambda data=data: codec.verify(data))
        assert row["ok"] == (said == "sound") == (row["input"] == "good.aec")
        assert said == "sound" or said.endswith(f": {row['error']}")
    assert rows[1]["width"] == 33 and rows[1]["height"] == 20 and rows[1]["seconds"] > 0
    assert rows[-1]["error"] == "No such file or directory"
    assert len(result.stderr.splitlines()) == 6  # one for each that is not sound


def test_fast_looks_at_the_container_only(folder: Path) -> None:
    names = ["good.aec", "word.aec", "model.aec", "short.aec", "critical.aec"]
    result = verified(*names, "--fast", "--json", code=4)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["ok"] for row in rows] == [True, True, True, False, False]
    assert all(row["fast"] for row in rows)


def test_exit_codes(folder: Path) -> None:
    verified("good.aec", "good.aec")
    verified("good.aec", "word.aec", code=7)
    verified("model.aec", "good.aec", code=6)
    verified("short.aec", "text.aec", code=4)
    verified("word.aec", "short.aec", code=1)
    verified(code=2)
    result = verified("good.aec", "--device", "cuda:99", code=8)
    assert result.stderr.startswith("aec: cannot start the codec: ")
    assert verified("short.aec", "--device", "nowhere", code=2).stdout == ""


def test_a_pipe_is_verified(sound: bytes) -> None:
    assert verified("-", input=sound).stderr.startswith("-: sound  ")
    assert "not an .aec file" in verified("-", input=b"x" * 99, code=4).stderr


def test_fast_does_not_load_torch(folder: Path) -> None:
    code = """
import sys
from aec.cli.main import run
assert run(["verify", "--fast", "--quiet", "good.aec"]) == 0
heavy = {"torch", "numpy", "PIL", "constriction", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bug_is_told_from_a_bad_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: aec.Codec, data: bytes, **options: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(aec.Codec, "verify", broken)
    result = verified("good.aec", code=1)
    assert "internal error, please report it: IndexError" in result.stderr


def test_a_file_of_another_model_is_named(codec: aec.Codec, sound: bytes) -> None:
    with pytest.raises(ModelNotFoundError, match=f"model {'00' * 8}, this codec has"):
        codec.verify(other_model(sound))
