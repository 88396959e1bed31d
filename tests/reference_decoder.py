"""A second decoder, written from spec.md alone: numpy, zlib, and the order of that page.

    python tests/reference_decoder.py FILE.aec WEIGHTS.safetensors OUT.npy|OUT.ppm

Shares no line with the package, so what both agree on is what the specification says. It refuses
what a reader must, and names the requirement; bounds on sizes it has none, so give it no files of
strangers. Of the weights it checks nothing but their id.
"""

import sys
from pathlib import Path

import numpy as np
from reference_container import (
    ALPHA,
    GRAY,
    Header,
    Invalid,
    Pixels,
    Tile,
    must,
    read_file,
    read_header,
)
from reference_networks import (
    Ans,
    Ints,
    Network,
    Weights,
    X,
    canary,
    read_tensors,
    read_weights,
    symbol_crc,
    symbols_to_y,
)

__all__ = [
    "Ans",
    "Invalid",
    "Network",
    "Pixels",
    "Weights",
    "X",
    "canary",
    "decode",
    "decode_with",
    "read_file",
    "read_tensors",
    "read_weights",
    "symbol_crc",
    "symbols_to_y",
]


def tile_y(network: Network, tile: Tile, height: int, width: int) -> Ints:
    """y of a tile whose symbols are checked."""
    ans = Ans(tile.words)
    y, z, residuals = symbols_to_y(network, ans, height, width)
    right = symbol_crc(z, residuals) == tile.symbol_crc
    must(right, "S-040", "symbol_crc", "BackendMismatchError")
    must((ans.x, ans.words) == (0, []), "S-114", "the end of the coder", "BackendMismatchError")
    return y


def picture(header: Header, network: Network, y: Ints, alpha: Pixels, scale: int) -> Pixels:
    """The pixels of a picture given its y, and its alpha (6.4 and 6.6)."""
    colours = network.pixels(y, scale)[: -(-header.height // scale), : -(-header.width // scale)]
    if header.flags & GRAY:
        colours = (colours.sum(axis=2, keepdims=True) + 1) // 3
    channels = [colours]
    if header.flags & ALPHA:
        channels.append(smaller(alpha.astype(np.int64), scale)[:, :, None])
    pixels = np.concatenate(channels, axis=2).astype(np.uint8)
    return pixels if pixels.shape[2] > 1 else pixels[:, :, 0]


def smaller(alpha: Ints, scale: int) -> Ints:
    """The means of S-252."""
    rows, columns = (range(0, side, scale) for side in alpha.shape)
    squares = [[alpha[i : i + scale, j : j + scale] for j in columns] for i in rows]
    means = [[(2 * a.sum() + a.size) // (2 * a.size) for a in row] for row in squares]
    return np.array(means, np.int64)


def decode(data: bytes, tensors: dict[str, Ints], scale: int = 1) -> Pixels:
    """The picture of a file at 1 / scale: (H, W), or (H, W, channels) if these are several, alpha
    the last one. That the file is of these weights is for the caller to know.
    """
    header, tiles = read_file(data)
    network = Network(tensors, header.quality)
    rows, columns = -(-header.height // 64) * 4, -(-header.width // 64) * 4
    y = np.zeros((rows, columns, network.m), np.int64)
    alpha = np.full((header.height, header.width), 255, np.uint8)
    for tile, (left, top, width, height) in zip(tiles, header.tiles(), strict=True):
        part = tile_y(network, tile, height, width)
        i, j = top // 16, left // 16
        y[i : i + part.shape[0], j : j + part.shape[1]] = part  # S-260
        if tile.alpha is not None:
            alpha[top : top + height, left : left + width] = tile.alpha
    return picture(header, network, y, alpha, scale)


def decode_with(weights: Weights, data: bytes, scale: int = 1) -> Pixels:
    """The same, if the file is of these weights (S-172)."""
    same = read_header(data).model_id == weights.id
    must(same, "S-172", "weights of another id", "ModelNotFoundError")
    return decode(data, weights.tensors, scale)


def save(pixels: Pixels, path: Path) -> None:
    """An array of numpy, or a PPM (gray: PGM) of what has no alpha."""
    if path.suffix == ".npy":
        np.save(path, pixels)
        return
    height, width, *channels = pixels.shape
    if channels in ([2], [4]):
        raise SystemExit(f"{path}: the picture has alpha, which only .npy can hold")
    kind = "P6" if channels else "P5"
    path.write_bytes(f"{kind}\n{width} {height}\n255\n".encode() + pixels.tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit((__doc__ or "").split("\n\n")[1])
    source, model, out = map(Path, sys.argv[1:])
    try:
        save(decode_with(read_weights(model.read_bytes()), source.read_bytes()), out)
    except Invalid as error:
        raise SystemExit(f"{source}: {error}") from error
