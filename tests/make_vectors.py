"""Makes the files under tests/vectors and their expected.json, or checks them.

    python tests/make_vectors.py            # checks, changes nothing
    python tests/make_vectors.py --write    # makes everything anew, for other weights

`valid` holds what the encoder of `aec` writes, `uncommon` what a writer might and `aec` does not,
`invalid` what a decoder must refuse. The check decodes every file with the reference decoder and
derives the last two kinds anew, which integers alone decide, so both come out the same on every
machine. It does not encode the first kind: an encoder may choose its symbols, computes with floats
and so may choose others on another machine. All files name the weights in the package.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import reference_decoder as reference
import vector_invalid
import vector_uncommon
from vector_parts import Vector, Writer
from vector_pictures import PICTURES

VECTORS = Path(__file__).parent / "vectors"
EXPECTED = VECTORS / "expected.json"
WEIGHTS = Path(__file__).parent.parent / "codec" / "weights" / "decoder.safetensors"
SCALES = (2, 4, 8)


def present() -> dict[str, bytes]:
    """The files that are there, by folder and name."""
    paths = sorted(VECTORS.glob("*/*.aec"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def valid_among(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those under `valid`, by the names of their pictures."""
    return {Path(name).stem: data for name, data in files.items() if name.startswith("valid/")}


def encoded() -> dict[str, bytes]:
    """The files under `valid`, by name, as the encoder on this machine writes them."""
    import aec

    codec = aec.Codec(device="cpu")
    return {name: codec.compress(p.pixels, **p.arguments) for name, p in PICTURES.items()}


def derived(valid: Mapping[str, bytes], weights: reference.Weights) -> dict[str, Vector]:
    """The files under `uncommon` and `invalid`, by folder and name."""
    writer = Writer(weights)
    kinds = {"uncommon": vector_uncommon.uncommon, "invalid": vector_invalid.invalid}
    return {
        f"{kind}/{name}.aec": vector
        for kind, make in kinds.items()
        for name, vector in make(valid, writer).items()
    }


def digest(pixels: reference.Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def accepted(data: bytes, weights: reference.Weights, scaled: bool) -> dict[str, Any]:
    """What a decoder makes of a sound file, according to the reference."""
    header, tiles = reference.read_file(data)
    entry = {
        "mode": ("L" if header.flags & 1 else "RGB") + ("A" if header.flags & 2 else ""),
        "size": [header.width, header.height],
        "quality": header.quality,
        "tile_log2": header.tile_log2,
        "symbol_crcs": [f"{tile.symbol_crc:08x}" for tile in tiles],
        "pixels": digest(reference.decode_with(weights, data)),
    }
    if scaled:
        entry["scaled"] = {
            str(scale): digest(reference.decode_with(weights, data, scale)) for scale in SCALES
        }
    return entry


def refused(data: bytes, weights: reference.Weights, vector: Vector) -> dict[str, Any]:
    """The error of a file that must be refused, once the reference is seen to give it, too."""
    if vector.error != "LimitError":  # bounds are a reader's own, and the reference has none
        try:
            reference.decode_with(weights, data)
        except reference.Invalid as error:
            if (error.error, error.id) != (vector.error, vector.breaks):
                raise SystemExit(f"{vector}: the reference says {error}") from error
        else:
            raise SystemExit(f"{vector}: the reference accepts it")
    return {"error": vector.error, "breaks": vector.breaks}


def checked(data: bytes, entry: Mapping[str, Any]) -> None:
    """Exits when `aec` does not make of a file what the reference does."""
    import aec

    try:
        found = digest(np.asarray(aec.decompress(data, device="cpu")))
    except aec.AecError as error:
        found = type(error).__name__
    if found != entry.get("pixels", entry.get("error")):
        raise SystemExit(f"{entry}: the package says {found}")


def recovered(data: bytes) -> list[int] | None:
    """How many tiles `aec` finds intact, and of how many, None when nothing is left."""
    import aec

    try:
        found = aec.recover(data, device="cpu")
    except aec.AecError:
        return None
    return [found.tiles_ok, found.tiles_total]


def expected(valid: Mapping[str, bytes], weights: reference.Weights) -> dict[str, Any]:
    """The contents of expected.json but for `recover`, which concerns `aec` only."""
    files = {
        f"valid/{name}.aec": {"about": picture.about}
        | accepted(valid[name], weights, picture.scaled)
        for name, picture in PICTURES.items()
    }
    for name, vector in derived(valid, weights).items():
        entry = refused if vector.error else accepted
        last: Any = vector if vector.error else False
        files[name] = {"about": vector.about} | entry(vector.data, weights, last)
    return {"model_id": weights.id.hex(), "files": files}


def problems(weights: reference.Weights) -> list[str]:
    """What is not as it should be, in words."""
    files, told = present(), json.loads(EXPECTED.read_text(encoding="utf-8"))
    if told["model_id"] != weights.id.hex():
        return [f"the files are of the weights {told['model_id']}, not of those in the package"]
    valid = valid_among(files)
    if valid.keys() != PICTURES.keys():
        return ["valid/ does not hold the files of vector_pictures.py"]
    made = {name: vector.data for name, vector in derived(valid, weights).items()}
    found = [
        f"{name} is not what the script makes of the files under valid/"
        for name in sorted(made.keys() | files.keys())
        if not name.startswith("valid/") and made.get(name) != files.get(name)
    ]
    for entry in told["files"].values():
        entry.pop("recover", None)
    if told != expected(valid, weights):
        found.append("expected.json is not what the reference decoder says")
    return found


def write(weights: reference.Weights) -> None:
    """Makes all files and expected.json anew."""
    valid = encoded()
    contents = expected(valid, weights)
    files = {f"valid/{name}.aec": data for name, data in valid.items()}
    files |= {name: vector.data for name, vector in derived(valid, weights).items()}
    for name, data in files.items():
        entry = contents["files"][name]
        checked(data, entry)
        if "error" in entry:
            entry["recover"] = recovered(data)
    for path in VECTORS.glob("*/*.aec"):
        path.unlink()
    for name, data in files.items():
        path = VECTORS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    entries = ",\n".join(f"{json.dumps(n)}: {json.dumps(e)}" for n, e in contents["files"].items())
    text = f'{{"model_id": "{contents["model_id"]}", "files": {{\n{entries}\n}}}}\n'
    EXPECTED.write_text(text, encoding="utf-8")
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="make all files anew")
    weights = reference.read_weights(WEIGHTS.read_bytes())
    if parser.parse_args().write:
        write(weights)
    elif found := problems(weights):
        sys.exit("\n".join(found))
    else:
        print("all files are as they should be")


if __name__ == "__main__":
    main()
