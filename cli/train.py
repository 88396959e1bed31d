"""The command ``aec train`` and its ``export``: from pictures to a model."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..format.errors import AecError
from .codes import EXIT_CODES, Failure

if TYPE_CHECKING:
    from ..codec.training.loss import TrainingModel

__all__ = ["train"]

_COMPARED = (5.0, 50.0, 95.0)
CALIBRATION = 20  # pictures for each generated one that ranges and tables are measured on besides

_PATH = click.Path(exists=True, path_type=Path)
_CAMERA = click.option(
    "--camera",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the photographs given a camera's grain, and of those given its colour of half "
    "the resolution; for pictures that were cleaned or made smaller.",
)


def _start(_context: click.Context, _option: click.Parameter, value: str | None) -> Path | None:
    """A checkpoint or a model, that of the package for the word default."""
    if value is None:
        return None
    if value == "default":
        from ..codec.loading import DEFAULT_MODEL

        return DEFAULT_MODEL
    if not Path(value).exists():
        raise click.BadParameter(f"{value!r} is no checkpoint, no model, and not the word default")
    return Path(value)


def _needs_extra() -> None:
    if find_spec("compressai") is None:
        raise click.ClickException('training needs more packages: pip install "aec-codec[train]"')


@click.group(
    invoke_without_command=True,
    short_help="Train a model on your own pictures.",
    epilog=EXIT_CODES,
)
@click.option("--data", type=_PATH, multiple=True, help="Folder or tar shard; may be repeated.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Checkpoint to write (.safetensors).",
)
@click.option(
    "--resume",
    callback=_start,
    metavar="START",
    help="Checkpoint to go on from, or weights to fine-tune: a model, or the word default for the "
    "weights that come with aec.",
)
@click.option("--minutes", type=click.FloatRange(min=0), help="Budget of training time.")
@click.option("--steps", type=click.IntRange(min=0), help="Budget of steps.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--crop", type=click.IntRange(min=64), default=256, show_default=True)
@click.option(
    "--graphics",
    type=click.FloatRange(0, 1),
    default=0.06,
    show_default=True,
    metavar="SHARE",
    help="Share of the crops that are generated text, screens, line art and patterns.",
)
@_CAMERA
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    help="Peak learning rate.  [default: 0.002; 0.0005 to fine-tune; a checkpoint's own]",
)
@click.option(
    "--optimizer", type=click.Choice(["muon", "adamw"]), default="muon", show_default=True
)
@click.option("--ema", type=click.FloatRange(0, 1), default=0.999, show_default=True)
@click.option(
    "--save-minutes",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Time between checkpoints.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--compile",
    "fuse",
    is_flag=True,
    help="Compile the networks first: a minute's wait for a fifth more speed.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that cut crops ahead of time.  [default: 0; for a GPU the cores but one]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:N].")
@click.option(
    "--set",
    "sizes",
    multiple=True,
    metavar="NAME=INT",
    help="A size of the network other than the default, as in --set c8=128; with weights to start "
    "from, one larger than theirs.",
)
@click.pass_context
def train(
    context: click.Context,
    data: tuple[Path, ...],
    out: Path | None,
    resume: Path | None,
    minutes: float | None,
    steps: int | None,
    batch: int,
    crop: int,
    graphics: float,
    camera: float,
    lr: float | None,
    optimizer: str,
    ema: float,
    save_minutes: float,
    seed: int,
    fuse: bool,
    workers: int | None,
    device: str,
    sizes: tuple[str, ...],
) -> None:
    """Train the networks on folders or tar shards of AVIF, PNG, JPEG or WebP pictures.

    Give a budget with --minutes, --steps or both; the learning rate falls to nothing at its end.
    With --resume default, the weights that come with aec are fine-tuned: they are trained on, at a
    lower rate, on pictures of your own; with --set beside it a larger network starts from them.
    `aec train export` then makes a model.
    Several processes train together under `torchrun --nproc-per-node N -m aec train ...`.
    """
    if context.invoked_subcommand is not None:
        return
    if not data or out is None:
        raise click.UsageError("--data and --out are needed; see aec train --help")
    if not minutes and not steps:
        raise click.UsageError("give a budget: --minutes, --steps or both")
    from ..codec.loading import is_model

    if resume is not None and sizes and not is_model(resume):
        raise click.UsageError("--set is for new networks or larger ones; a checkpoint has its own")
    if crop % 64:
        raise click.UsageError(f"--crop must be a multiple of 64, got {crop}")
    _needs_extra()
    from ..codec.training.trainer import Options, Trainer

    try:
        pairs = (size.split("=", 1) for size in sizes)
        options = Options(
            data=list(data),
            out=out,
            minutes=minutes or math.inf,
            steps=steps or 0,
            batch=batch,
            crop=crop,
            graphics=graphics,
            camera=camera,
            lr=lr,
            optimizer=optimizer,
            ema=ema,
            save_minutes=save_minutes,
            seed=seed,
            device=device,
            resume=resume,
            compile=fuse,
            workers=workers,
            sizes={name: int(value) for name, value in pairs},
        )
        Trainer(options).run()
    except (AecError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise Failure(error) from error


@train.command()
@click.argument("checkpoint", type=_PATH)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=_PATH, multiple=True, required=True, help="Pictures to calibrate on.")
@click.option("--pictures", type=click.IntRange(min=1), default=200, show_default=True)
@_CAMERA
def export(
    checkpoint: Path, model: Path, data: tuple[Path, ...], pictures: int, camera: float
) -> None:
    """Turn CHECKPOINT into a MODEL of integer weights, measured on training pictures.

    MODEL becomes one file if its name ends in .safetensors, a folder otherwise. Use it with
    aec compress --model MODEL, or aec.Codec(model=MODEL).
    """
    _needs_extra()
    import numpy as np

    from ..codec.training.data import as_taken, load_pictures
    from ..codec.training.export import export as export_model
    from ..codec.training.graphics import make_graphics
    from ..codec.training.trainer import GRAPHICS_SIDE

    try:
        net = _averaged(checkpoint)
        training, _ = load_pictures(list(data), min_side=64, limit=pictures)
        graphics = make_graphics(len(training) // CALIBRATION, side=GRAPHICS_SIDE, seed=1)
        clean, random = training + graphics, np.random.default_rng(0)
        taken = [as_taken(picture, camera, random) for picture in training] + graphics
        digest = export_model(
            net.model, net.prior, taken, model, click.echo, clean=clean if camera else None
        )
    except (AecError, OSError, RuntimeError, ValueError) as error:
        raise Failure(error) from error
    click.echo(f"{model}: model {digest[:16]}")


@train.command()
@click.argument("checkpoint", type=_PATH)
@click.argument("model", type=_PATH)
@click.argument("pictures", type=_PATH, nargs=-1, required=True)
def compare(checkpoint: Path, model: Path, pictures: tuple[Path, ...]) -> None:
    """Measure what export cost: MODEL against the CHECKPOINT it came from, on PICTURES."""
    _needs_extra()
    from ..codec.api import Codec
    from ..codec.metadata import KINDS
    from ..codec.pictures import open_picture, to_array
    from ..codec.training.compare import compare as measure

    try:
        opened = [open_picture(path, strip=KINDS) for path in pictures]
        arrays = [to_array(picture.convert("RGB")) for picture in opened]
        codec = Codec(model=model, device="cpu")
        cost = measure(_averaged(checkpoint).model, codec, arrays, list(_COMPARED))
    except (AecError, OSError, RuntimeError, ValueError) as error:
        raise Failure(error) from error
    click.echo(
        f"integer against float, {len(arrays)} pictures at qualities {_COMPARED}: "
        f"bits {100 * (cost.bits - 1):+.3f} %, PSNR {cost.psnr:+.4f} dB, "
        f"decoder networks {cost.seconds:.2f} times the seconds"
    )


def _averaged(checkpoint: Path) -> TrainingModel:
    from ..codec.model import Model
    from ..codec.training.checkpoint import read_averaged
    from ..codec.training.loss import TrainingModel

    config, tensors = read_averaged(checkpoint)
    net = TrainingModel(Model(config))
    net.load_state_dict(tensors)
    return net
