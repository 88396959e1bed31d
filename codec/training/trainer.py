"""The training loop: one code path for a CPU, a GPU, or several processes of either."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from ..config import ModelConfig
from ..loading import is_model
from ..model import Model
from .checkpoint import load_checkpoint, read_run, save_checkpoint
from .data import CropSampler, Picture, batches, load_pictures, whole_cells
from .graphics import make_graphics
from .grow import grow
from .loss import Terms, TrainingModel
from .optimizer import RATE, TUNING_RATE, Optimizer
from .restore import restore

VALIDATION_QUALITIES = (0.05, 0.275, 0.5, 0.725, 0.95)
SPIKE = 10.0  # a gradient norm this many times the running one is not learnt from
WORKERS = 15  # for a GPU; each cuts some 500 crops a second
GRAPHICS = 300  # generated over all processes, of 0.8 MB each
GRAPHICS_SIDE = 512
WILD_STEPS = 100  # of new weights, whose gradients fall too fast to tell what a spike is


@dataclass
class Options:
    """What a training run is told; the budget that ends first sets the schedule."""

    data: list[Path]
    out: Path
    minutes: float = math.inf
    steps: int = 0  # 0: no limit
    batch: int = 8  # crops per step, over all processes
    crop: int = 256
    graphics: float = 0.06  # the share of the crops that are generated graphics
    camera: float = 0.0  # the share of photographs given grain or colour of half resolution
    lr: float | None = None  # None: what suits the start, see `Trainer._begin`
    optimizer: str = "muon"  # or "adamw"
    ema: float = 0.999
    warmup: int = 200
    seed: int = 0
    device: str = "auto"
    resume: Path | None = None  # a checkpoint to go on from, or a model to start from
    report_seconds: float = 10.0
    save_minutes: float = 5.0
    compile: bool = False  # fuses small operations; needs a C++ compiler on a CPU
    workers: int | None = None  # processes that cut crops; None: as many as a GPU can use
    sizes: Mapping[str, int] = field(default_factory=dict)  # of the network, other than the usual


class Trainer:
    """Holds one run: networks, optimisers, averages, and the state that a checkpoint keeps."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = self._pick_device(options.device)
        if self.device.type == "cuda":
            # 10 bits are enough for what the linear ends take, and float32 keeps tensor cores idle.
            # (Torch before 2.9 has no other switch.)
            torch.set_float32_matmul_precision("high")
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        if options.batch % self.world:
            raise ValueError(f"batch {options.batch} is no multiple of {self.world} processes")
        torch.manual_seed(options.seed)  # the same start in every process
        net, rate, self.wild_steps = self._begin()
        self.net = net.to(self.device)
        self.lr = rate if options.lr is None else options.lr
        self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.optimizer = Optimizer(
            self.net, options.optimizer, self.lr, rank=self.rank, world=self.world
        )
        self.parameters = [p for p in self.net.parameters() if p.requires_grad]
        if options.compile:
            # the methods alone, so that the names of the parameters stay what they are; all of the
            # loss as one is slower than these
            for owner, name in ((net.model, "forward"), (net, "rate"), (net, "errors")):
                setattr(owner, name, torch.compile(getattr(owner, name), dynamic=False))
        self.step = 0
        self.seconds = 0.0  # of training, over all resumes
        self.running_norm = 0.0
        self.skipped = 0
        if options.resume is not None and not is_model(options.resume):
            load_checkpoint(self, options.resume)

    def _begin(self) -> tuple[TrainingModel, float, int]:
        """The networks, their usual peak rate, and how many steps of wild gradients to expect."""
        start = self.options.resume
        sizes = self.options.sizes
        if start is None:
            return TrainingModel(Model(ModelConfig(**sizes))), RATE, WILD_STEPS
        if is_model(start):
            net = restore(start)
            if sizes:
                return grow(net, replace(net.model.cfg, **sizes)), RATE, WILD_STEPS
            return net, TUNING_RATE, 0
        config, rate = read_run(start)
        return TrainingModel(Model(config)), rate, WILD_STEPS

    def _pick_device(self, name: str) -> torch.device:
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda" and self.world > 1:
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return torch.device(name)

    def _seed(self) -> int:
        return self.options.seed + 7919 * self.rank

    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        by_time = self.seconds / (60 * self.options.minutes)
        by_step = self.step / self.options.steps if self.options.steps else 0.0
        return min(1.0, max(by_time, by_step))

    def _agree(self, *values: float) -> list[float]:
        """Process 0's values in all of them: with its own clock, each would go its own way."""
        shared = torch.tensor(values, device=self.device, dtype=torch.float64)
        if self.world > 1:
            dist.broadcast(shared, 0)
        return shared.tolist()

    def _set_rates(self, progress: float) -> None:
        warm = min(1.0, (self.step + 1) / self.options.warmup)
        falling = 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * progress))
        self.optimizer.set_rate(warm * falling)

    def _reduce_gradients(self) -> None:
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.world
        at = 0
        for p in self.parameters:
            if p.grad is not None:
                p.grad.copy_(flat[at : at + p.grad.numel()].view_as(p.grad))
                at += p.grad.numel()

    def _qualities(self, count: int) -> Tensor:
        """Random qualities in [0, 1], one in each of equal parts of it over all processes.

        Drawn independently, a small batch would pull towards high rates in one step and low ones
        in the next.
        """
        parts = torch.arange(count) * self.world + self.rank
        return (parts + torch.rand(count)) / (count * self.world)

    def train_step(self, batch: Tensor) -> Terms:
        """One update from uint8 crops (B, 3, crop, crop)."""
        # noise and qualities, like the crops, depend on the step and the process alone
        torch.manual_seed(self._seed() + 1_000_003 * self.step)
        x = batch.to(self.device, non_blocking=True).float() / 255
        x = x.contiguous(memory_format=torch.channels_last)
        q = self._qualities(x.shape[0]).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            terms = self.net(x, q)
        for p in self.parameters:
            p.grad = None
        terms.loss.mean().backward()
        self._reduce_gradients()
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, 2 * self.running_norm or 1e9))
        self.step += 1
        highest = SPIKE * self.running_norm if self.step > self.wild_steps else 0.0
        if not math.isfinite(norm) or 0 < highest < norm:
            self.skipped += 1
            return terms
        self.running_norm = 0.95 * self.running_norm + 0.05 * norm if self.running_norm else norm
        self.optimizer.step()
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            state = self.net.state_dict()
            floats = [name for name, value in state.items() if value.is_floating_point()]
            # one call for all of them: by itself each is mostly overhead
            torch._foreach_lerp_(
                [self.ema[name] for name in floats], [state[name] for name in floats], 1 - decay
            )
            for name in state.keys() - floats:
                self.ema[name].copy_(state[name])
        return terms

    def averaged(self) -> TrainingModel:
        """A copy of the networks with the averaged weights, ready for evaluation."""
        net = TrainingModel(Model(self.net.model.cfg)).to(self.device)
        net.load_state_dict(self.ema)
        return net.eval()

    @torch.no_grad()
    def validate(self, pictures: list[Tensor]) -> list[tuple[float, float]]:
        """Mean (bpp, PSNR in dB) of the averaged weights at each validation quality."""
        net = self.averaged()
        points = []
        for quality in VALIDATION_QUALITIES:
            bpp, psnr = 0.0, 0.0
            for picture in pictures:
                x = picture[None].to(self.device).float() / 255
                terms = net(x, torch.tensor([quality], device=self.device))
                bpp += float(terms.bpp)
                psnr += 10 * math.log10(255**2 / float(terms.mse))
            points.append((bpp / len(pictures), psnr / len(pictures)))
        return points

    def _graphics(self) -> list[Picture]:
        """This process's generated pictures, no more than a short run would show."""
        options = self.options
        if not options.graphics:
            return []
        shown = math.ceil(options.graphics * options.batch * options.steps) or GRAPHICS
        count = math.ceil(min(GRAPHICS, shown) / self.world)
        return make_graphics(count, side=max(GRAPHICS_SIDE, options.crop), seed=self._seed())

    def _workers(self) -> int:
        """How many processes cut crops ahead; on a CPU they would only get in the way."""
        if self.options.workers is not None:
            return self.options.workers
        if self.device.type == "cpu":
            return 0
        return min(WORKERS, max(1, (os.cpu_count() or 1) // self.world - 1))

    def run(self) -> None:
        """Trains until the budget is used; saves now and then and at the end."""
        options = self.options
        training, held_out = load_pictures(
            options.data, min_side=options.crop, part=self.rank, parts=self.world
        )
        graphics = self._graphics()
        sampler = CropSampler(
            training,
            crop=options.crop,
            seed=self._seed(),
            graphics=graphics,
            share=options.graphics,
            camera=options.camera,
        )
        crops = batches(
            sampler,
            options.batch // self.world,
            start=self.step,
            workers=self._workers(),
            pinned=self.device.type == "cuda",
        )
        validation = [whole_cells(p) for p in held_out[:8]]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        self._say(
            f"{len(training)} pictures and {len(graphics)} generated ones in process 0, "
            f"{len(validation)} held out, "
            f"{sum(p.numel() for p in self.parameters) / 1e6:.2f} M parameters"
        )
        if options.resume is not None and self.step == 0:
            self._validate(validation)  # what fine-tuning has to beat
        last_report = last_save = last = time.monotonic()
        sums = torch.zeros(3)
        count = 0
        while True:
            due = time.monotonic() - last_save >= 60 * options.save_minutes
            progress, due_for_all = self._agree(self.progress(), due)
            if progress >= 1:
                break
            if due_for_all:
                self._save(validation)
                last_save = last = time.monotonic()
            self._set_rates(progress)
            terms = self.train_step(next(crops))
            psnr = 10 * torch.log10(255**2 / terms.mse)
            sums += torch.stack([terms.loss.mean(), terms.bpp.mean(), psnr.mean()]).detach().cpu()
            count += 1
            now = time.monotonic()
            self.seconds += now - last
            last = now
            if now - last_report >= options.report_seconds:
                loss, bpp, db = (sums / count).tolist()
                rate = count * options.batch / (now - last_report)
                left = self.seconds / max(progress, 1e-6) * (1 - progress) / 60
                self._say(
                    f"step {self.step}  loss {loss:.4f}  bpp {bpp:.3f}  PSNR {db:.2f} dB  "
                    f"{rate:.1f} images/s  skipped {self.skipped}  {left:.1f} min left"
                )
                sums.zero_()
                count, last_report = 0, now
        self._save(validation)
        self._say(f"wrote {options.out}; `aec train export` makes a model of it")

    def _save(self, validation: list[Tensor]) -> None:
        state = self.optimizer.state()  # of all processes
        if self.rank == 0:
            save_checkpoint(self, state, self.options.out)
            self._validate(validation)
        if self.world > 1:
            dist.barrier()

    def _validate(self, validation: list[Tensor]) -> None:
        """Says how the averaged weights do on the held-out pictures, where there are any."""
        if self.rank or not validation:
            return
        points = self.validate(validation)
        text = "  ".join(f"{b:.3f}/{p:.2f}" for b, p in points)
        self._say(f"step {self.step}  held out, bpp/dB: {text}")
        with self.options.out.with_suffix(".jsonl").open("a") as log:
            entry = {"step": self.step, "seconds": self.seconds, "points": points}
            log.write(json.dumps(entry) + "\n")

    def _say(self, text: str) -> None:
        if self.rank == 0:
            print(text, file=sys.stderr, flush=True)
