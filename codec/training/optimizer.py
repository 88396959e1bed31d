"""Muon for the matrices of the networks, AdamW for everything else, over several processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

RATE = 2e-3  # the peak that suits training from scratch
#: The peak for weights that are good already, which RATE would throw about. The warm-up matters as
#: much: with 6 steps of it a run of 60 ended worse than it began, with the usual 200 better.
TUNING_RATE = 5e-4
NEWTON_SCHULZ_STEPS = 4  # of the usual 5; on a CPU a fifth of a training step goes into these


class Optimizer:
    """Both optimisers behind one rate. Every process orthogonalises its share of the matrices.

    Muon (Jordan et al. 2024) replaces a matrix's momentum by the nearest orthogonal matrix; that
    costs as much on every process as on one, so process r updates matrices r, r + world, ... and
    sends them to the others.
    """

    def __init__(self, net: nn.Module, kind: str, lr: float, *, rank: int, world: int) -> None:
        """`kind` is "muon", or "adamw" for AdamW alone; `lr` is the peak rate."""
        self.rank, self.world = rank, world
        self.matrices: list[nn.Parameter] = []
        slow: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in net.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.endswith("shortcut"):
                slow.append(parameter)  # starts at a DCT, which needs no haste
            elif parameter.dim() == 2 and name.endswith("weight") and kind == "muon":
                self.matrices.append(parameter)
            else:
                rest.append(parameter)
        groups = [{"params": rest, "lr": lr / 2}, {"params": slow, "lr": lr / 10}]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, foreach=True)
        if self._mine():
            self.muon = torch.optim.Muon(
                [self.matrices[i] for i in self._mine()],
                lr=lr,
                weight_decay=0.0,
                adjust_lr_fn="match_rms_adamw",
                ns_steps=NEWTON_SCHULZ_STEPS,
            )

    def set_rate(self, share: float) -> None:
        """Sets every learning rate to `share` of its peak."""
        groups = [*self.adam.param_groups, *(self.muon.param_groups if self._mine() else ())]
        for group in groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * share

    def step(self) -> None:
        """One update from the gradients, the same on every process."""
        self.adam.step()
        if self._mine():
            self.muon.step()
        self._share([p.data for p in self.matrices])

    def _mine(self) -> range:
        """Numbers of the matrices that this process updates."""
        return range(self.rank, len(self.matrices), self.world)

    def _share(self, tensors: list[Tensor]) -> None:
        """Gives every process the tensors that each owner holds."""
        if self.world == 1:
            return
        for owner in range(self.world):
            part = tensors[owner :: self.world]
            if not part:
                continue
            flat = torch.cat([t.flatten() for t in part])
            dist.broadcast(flat, owner)
            if owner != self.rank:
                sizes = [t.numel() for t in part]
                for tensor, values in zip(part, flat.split(sizes), strict=True):
                    tensor.copy_(values.view_as(tensor))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, of all processes; each of them must call this."""
        momenta = [torch.zeros_like(p) for p in self.matrices]
        for i in self._mine():
            buffer = self.muon.state[self.matrices[i]].get("momentum_buffer")
            if buffer is not None:  # there is none before the first step
                momenta[i].copy_(buffer)
        self._share(momenta)
        state = {f"muon.{i}": m for i, m in enumerate(momenta)}
        for i, values in self.adam.state_dict()["state"].items():
            state |= {f"adam.{i}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` gave, for whatever number of processes."""
        for i in self._mine():
            buffer = state[f"muon.{i}"].to(self.matrices[i].device)
            self.muon.state[self.matrices[i]]["momentum_buffer"] = buffer
        whole = self.adam.state_dict()
        whole["state"] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, number, name = key.split(".")
                whole["state"].setdefault(int(number), {})[name] = value
        self.adam.load_state_dict(whole)
