"""Training of the U-Net baseline: the same cases and the same budget as the model that it is compared with."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.models.networks.unet import Unet, UnetShape, build_network, unet_picture
from SAMLiverTumorLib.models.preprocessing.resize import resize_picture
from SAMLiverTumorLib.plane import slice_count, slice_plane


@dataclass(frozen=True)
class UnetSettings:
    """How long and how a baseline is trained.

    :param steps: at most so many; with `seconds` whichever ends first.
    :param seconds: at most so many, validation included; None for as long as the steps take. Only without it is the
        same seed the same network.
    :param batch: crops a step.
    :param crop: pixels along the side of a crop.
    :param rate: first learning rate of AdamW; it falls to nothing along a cosine over the budget.
    :param validate_every: steps between two validations.
    :param patience: validations without a better Dice after which training stops.
    :param seed: of weights, crops and augmentation.
    """

    steps: int = 10_000
    seconds: float | None = None
    batch: int = 8
    crop: int = 128
    rate: float = 1e-3
    validate_every: int = 100
    patience: int = 10
    seed: int = 0
    shape: UnetShape = field(default_factory=UnetShape)

    def __post_init__(self) -> None:
        least = min(self.steps, self.batch, self.validate_every, self.patience)
        if least < 1 or (self.seconds is not None and not self.seconds > 0):
            raise InputError("A U-Net needs at least one step, one crop a step and a positive time to train.")
        if self.crop % self.shape.divisor or not 0 < self.crop <= self.shape.size:
            raise InputError(
                f"Crops of {self.crop} pixels do not go with pictures of {self.shape.size}; give a multiple of "
                f"{self.shape.divisor} up to that."
            )


@dataclass(frozen=True, eq=False)
class _Slice:
    """One slice at the network's resolution: picture float32, target 0 other, 1 tumor, 2 liver; uint8 (rows, cols)."""

    picture: np.ndarray
    target: np.ndarray


def train_unet(
    training: Iterable[Case],
    validation: Iterable[Case],
    settings: UnetSettings,
    progress: Callable[[int, float, float | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    device: str = "cpu",
) -> Unet:
    """Train a baseline; the weights with the best validation Dice are kept.

    Slices with tumor and slices of liver without are learned from alike; where labels have no liver, all slices are.
    Half of the crops are centered on tumor. Loss: Dice and cross-entropy of the two classes (Isensee et al., nnU-Net,
    2021). Iterables are read case by case, so that only what is learned from stays in memory.

    :param training: labeled cases.
    :param validation: other patients; they choose the weights and end the training.
    :param progress: told of (step, loss, validation Dice if there was a validation).
    :raises InputError: no tumor to learn from or to validate on, or a patient in both.
    :raises Cancelled: when `cancel` says so.
    """
    start = time.monotonic()
    learned, names, hashes = _slices(training, settings.shape)
    judged, judged_names, judged_hashes = _slices(validation, settings.shape)
    if both := [name for name in judged_names if name in names or judged_hashes[name] in hashes.values()]:
        raise InputError(f"{', '.join(both)} is in both parts; training and validation need different patients.")
    for slices, what in ((learned, "train"), (judged, "validate")):
        if not any((each.target == 1).any() for each in slices):
            raise InputError(f"None of the cases to {what} on has a tumor; choose others.")
    torch.manual_seed(settings.seed)
    network = build_network(settings.shape).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=1e-4)
    loss_of = _loss()
    best, best_state, since, history = -1.0, None, 0, []
    for step, (pictures, targets) in enumerate(_batches(learned, settings), start=1):
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; no network was written.")
        spent = time.monotonic() - start
        done = max(step / settings.steps, spent / settings.seconds if settings.seconds else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + np.cos(np.pi * min(done, 1.0)))
        network.train()
        optimizer.zero_grad()
        loss = loss_of(network(pictures.to(device)), targets.to(device))
        loss.backward()
        reached = float(loss.detach())
        optimizer.step()
        ends, dice = done >= 1.0, None
        if ends or step % settings.validate_every == 0:
            dice = _dice(network, judged, settings.shape, device)
            history.append({"step": step, "loss": round(reached, 5), "dice": round(dice, 5)})
            since = 0 if dice > best else since + 1
            if dice > best:
                best, best_state = dice, {k: v.detach().clone() for k, v in network.state_dict().items()}
        if progress is not None:
            progress(step, reached, dice)
        if ends or since >= settings.patience:
            break
    network.load_state_dict(best_state)
    card = {
        "settings": {name: value for name, value in asdict(settings).items() if name != "shape"},
        "training_cases": names,
        "validation_cases": judged_names,
        "data_sha256": {**hashes, **judged_hashes},
        "slices": {"training": len(learned), "validation": len(judged)},
        "steps": step,
        "seconds": round(time.monotonic() - start, 1),
        "stopped_early": since >= settings.patience,
        "best_validation_dice": round(best, 5),
        "history": history,
        "versions": {"sam-liver-tumor": __version__, "torch": torch.__version__, **_monai_version()},
        "python": platform.python_version(),
    }
    return Unet(network.eval().requires_grad_(False), settings.shape, card)


def _slices(cases: Iterable[Case], shape: UnetShape) -> tuple[list[_Slice], list[str], dict[str, str]]:
    """Slices of cases at the network's resolution, the cases' names, and hashes of their voxels."""
    slices, names, hashes = [], [], {}
    for case in cases:
        names.append(case.name)
        hashes[case.name] = case.volume.voxel_hash
        for index in range(slice_count(case.volume, "axial")):
            plane = slice_plane(case.volume, "axial", index)
            tumor = voxels_to_picture(case.tumor, plane)
            liver = np.ones_like(tumor) if case.liver is None else voxels_to_picture(case.liver, plane)
            if not liver.any():
                continue
            picture = unet_picture(case.volume, plane, shape)
            small = [_shrunk(mask, tuple(picture.shape)) for mask in (tumor, liver)]
            target = np.where(small[0], 1, np.where(small[1], 2, 0)).astype(np.uint8)
            # crops need room
            rows, columns = (shape.size - side for side in target.shape)
            pad = ((0, rows), (0, columns))
            slices.append(_Slice(np.pad(picture.numpy(), pad), np.pad(target, pad)))
    return slices, names, hashes


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size: pixels that it covers by half."""
    whole = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    return resize_picture(whole, size)[0, 0].numpy() >= 0.5


def _batches(slices: Sequence[_Slice], settings: UnetSettings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of augmented crops: pictures (b, 1, crop, crop) and targets (b, 1, crop, crop) of 0 and 1."""
    rng = np.random.default_rng(settings.seed)
    augment = _augmentation(settings)
    with_tumor = [each for each in slices if (each.target == 1).any()]
    while True:
        drawn = []
        for n in range(settings.batch):
            group, value = (with_tumor, 1) if n % 2 == 0 else (slices, 2)
            each = group[rng.integers(len(group))]
            drawn.append(augment(_crop(each, value, settings.crop, rng)))
        targets = torch.stack([torch.as_tensor(each["target"]) for each in drawn])
        yield torch.stack([torch.as_tensor(each["picture"]) for each in drawn]), (targets == 1).float()


def _crop(each: _Slice, value: int, side: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A square part near a pixel of that value (anywhere, if there is none), arrays (1, side, side)."""
    places = np.flatnonzero(each.target == value)
    place = int(places[rng.integers(len(places))]) if len(places) else int(rng.integers(each.target.size))
    corner = []
    for at, length in zip(np.unravel_index(place, each.target.shape), each.target.shape, strict=True):
        corner.append(int(np.clip(at - rng.integers(side // 4, side - side // 4), 0, length - side)))
    part = tuple(slice(start, start + side) for start in corner)
    return {"picture": each.picture[part][None], "target": each.target[part].astype(np.float32)[None]}


def _augmentation(settings: UnetSettings):
    """MONAI's transforms, seeded. No mirroring: the liver lies on one side."""
    from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandGaussianNoised, RandScaleIntensityd

    keys = ["picture", "target"]
    chain = Compose(
        [
            RandAffined(
                keys,
                prob=0.7,
                rotate_range=0.35,
                scale_range=0.25,
                translate_range=0,
                mode=["bilinear", "nearest"],
                padding_mode="border",
            ),
            RandScaleIntensityd(["picture"], factors=0.15, prob=0.5),
            RandAdjustContrastd(["picture"], prob=0.3, gamma=(0.8, 1.25)),
            RandGaussianNoised(["picture"], prob=0.3, std=0.03),
        ]
    )
    chain.set_random_state(settings.seed)
    return chain


def _loss():
    from monai.losses import DiceCELoss

    return DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)


@torch.inference_mode()
def _dice(network: torch.nn.Module, slices: Sequence[_Slice], shape: UnetShape, device: str) -> float:
    """Dice over all pixels of the slices together, inside the liver."""
    network.eval()
    shared = total = 0
    for start in range(0, len(slices), 8):
        chunk = slices[start : start + 8]
        pictures = torch.from_numpy(np.stack([each.picture for each in chunk])[:, None]).to(device)
        logits = network(pictures)
        marked = (logits[:, 1] > logits[:, 0]).cpu().numpy() & np.stack([each.target > 0 for each in chunk])
        tumor = np.stack([each.target == 1 for each in chunk])
        shared += int(np.count_nonzero(marked & tumor))
        total += int(np.count_nonzero(marked)) + int(np.count_nonzero(tumor))
    return 2.0 * shared / total if total else 1.0


def _monai_version() -> dict[str, str]:
    from importlib.metadata import version

    return {"monai": version("monai")}
