"""Training on several graphics cards or machines: each process takes its share of every step's slice images.

`torchrun` starts the processes and sets the environment that is read here. With the same global batch, losses equal
those of one process up to rounding.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

import torch
from torch import nn

from SAMLiverTumorLib.errors import InputError


class Processes:
    """The processes of one training run; by default just this one.

    :param rank: number of this process, from 0.
    :param count: number of processes.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, wrapped so that all processes start from the first one's weights."""
        if self.count == 1:
            return model
        # with text prompts alone, for example, the point embeddings have no part in the loss
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    def average_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Average the gradients over all processes.

        A weight that had no part in the loss of one process counts there with gradient zero. A weight that had no part
        in any process keeps no gradient, as with one process.
        """
        if self.count == 1 or not weights:
            return
        device = weights[0].device
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.float32, device=device)
        torch.distributed.all_reduce(used)
        wanted = [weight for weight, count in zip(weights, used.tolist(), strict=True) if count]
        if not wanted:
            return
        flat = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).reshape(-1) for w in wanted])
        torch.distributed.all_reduce(flat)
        parts = (flat / self.count).split([weight.numel() for weight in wanted])
        for weight, part in zip(wanted, parts, strict=True):
            weight.grad = part.reshape(weight.shape).clone()

    def own_share(self, examples: Sequence) -> list:
        """This process's share of a step's examples.

        :raises InputError: the batch cannot be split evenly.
        """
        if len(examples) % self.count:
            raise InputError(f"A batch of {len(examples)} cannot be split among {self.count} processes evenly.")
        return list(examples[self.rank :: self.count])

    def mean(self, value: float, device: torch.device) -> float:
        """Mean of a value over the processes."""
        return self._reduced(value, device) / self.count

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether the value is true in any process, so that all stop in the same step."""
        return self._reduced(float(value), device) > 0

    def from_first(self, value: float, device: torch.device) -> float:
        """The first process's value, in all processes."""
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.broadcast(tensor, 0)
        return float(tensor)

    def _reduced(self, value: float, device: torch.device) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        return float(tensor)


def join() -> Processes:
    """Join the processes that `torchrun` started, or run alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        return Processes()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())


def local_device(name: str) -> str:
    """The device; with "auto", the graphics card that `torchrun` assigned to this process."""
    if name == "auto" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name


def leave() -> None:
    """Leave the process group, if one was joined."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # a wrapped model that outlives its process group aborts the process at exit
        gc.collect()
        torch.distributed.destroy_process_group()
        gc.collect()
