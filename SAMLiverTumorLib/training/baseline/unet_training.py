"""Training of the U-Net baseline, on the cases and with the budget of the model that it is compared with."""

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
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.models.networks.unet import Unet, UnetShape, build_network, unet_image
from SAMLiverTumorLib.models.preprocessing.resize import resize_image
from SAMLiverTumorLib.plane import slice_count, slice_plane


@dataclass(frozen=True)
class UnetSettings:
    """Settings of the baseline's training.

    :param steps: maximum number of steps.
    :param seconds: maximum training time, including validation; None for no limit. Only without a limit does the same
        seed give the same network.
    :param batch: crops per step.
    :param crop: edge of a crop in pixels.
    :param rate: initial learning rate of AdamW; it falls along a cosine to zero at the end of the budget.
    :param validate_every: steps between two validations.
    :param patience: validations without a better Dice before stopping early.
    :param seed: of weights, crops and augmentation.
    :param shape: of the network.
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
            raise InputError("A U-Net needs at least one step, one crop per step and a positive training time.")
        if self.crop % self.shape.divisor or not 0 < self.crop <= self.shape.size:
            raise InputError(
                f"Crops of {self.crop} pixels do not fit slice images of {self.shape.size}; give a multiple of "
                f"{self.shape.divisor} up to that size."
            )


@dataclass(frozen=True, eq=False)
class _Slice:
    """One slice at the network's resolution: image float32, target uint8 0 other, 1 tumor, 2 liver; (rows, columns)."""

    image: np.ndarray
    target: np.ndarray


def train_unet(
    training: Iterable[Case],
    validation: Iterable[Case],
    settings: UnetSettings,
    progress: Callable[[int, float, float | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    device: str = "cpu",
) -> Unet:
    """Train a baseline, and keep the weights with the best validation Dice.

    It learns from all slices of liver, with tumor and without; if the labels have no liver, from all slices. Half of
    the crops are centered on tumor. The loss is Dice plus cross-entropy of the two classes (Isensee et al., nnU-Net,
    2021). Cases are read one by one, so only their slices stay in memory.

    :param training: labeled cases.
    :param validation: other patients, which choose the weights and stop the training.
    :param progress: called with (step, loss, validation Dice or None).
    :raises InputError: no tumor to learn from or to validate on, or a patient in both.
    :raises Cancelled: when `cancel` says so.
    """
    start = time.monotonic()
    training_slices, names, hashes = _slices(training, settings.shape)
    validation_slices, validation_names, validation_hashes = _slices(validation, settings.shape)
    if both := [name for name in validation_names if name in names or validation_hashes[name] in hashes.values()]:
        raise InputError(f"{listed(both)} is in both parts; training and validation need different patients.")
    for slices, what in ((training_slices, "train"), (validation_slices, "validate")):
        if not any((each.target == 1).any() for each in slices):
            raise InputError(f"None of the cases to {what} on has a tumor; choose others.")
    torch.manual_seed(settings.seed)
    network = build_network(settings.shape).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=1e-4)
    loss_of = _loss()
    best, best_state, since, history = -1.0, None, 0, []
    for step, (images, targets) in enumerate(_batches(training_slices, settings), start=1):
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; no network was written.")
        spent = time.monotonic() - start
        done = max(step / settings.steps, spent / settings.seconds if settings.seconds else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + np.cos(np.pi * min(done, 1.0)))
        network.train()
        optimizer.zero_grad()
        loss = loss_of(network(images.to(device)), targets.to(device))
        loss.backward()
        reached = float(loss.detach())
        optimizer.step()
        ends, dice = done >= 1.0, None
        if ends or step % settings.validate_every == 0:
            dice = _dice(network, validation_slices, settings.shape, device)
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
        "validation_cases": validation_names,
        "data_sha256": {**hashes, **validation_hashes},
        "slices": {"training": len(training_slices), "validation": len(validation_slices)},
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
    """Slices of cases at the network's resolution, names of the cases, and hashes of their voxels."""
    slices, names, hashes = [], [], {}
    for case in cases:
        names.append(case.name)
        hashes[case.name] = case.volume.voxel_hash
        for index in range(slice_count(case.volume, "axial")):
            plane = slice_plane(case.volume, "axial", index)
            tumor = voxels_to_slice_mask(case.tumor, plane)
            liver = np.ones_like(tumor) if case.liver is None else voxels_to_slice_mask(case.liver, plane)
            if not liver.any():
                continue
            image = unet_image(case.volume, plane, shape)
            small = [_shrunk(mask, tuple(image.shape)) for mask in (tumor, liver)]
            target = np.where(small[0], 1, np.where(small[1], 2, 0)).astype(np.uint8)
            # crops need full-size images
            rows, columns = (shape.size - side for side in target.shape)
            pad = ((0, rows), (0, columns))
            slices.append(_Slice(np.pad(image.numpy(), pad), np.pad(target, pad)))
    return slices, names, hashes


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size: the pixels of which it covers at least half."""
    whole = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    return resize_image(whole, size)[0, 0].numpy() >= 0.5


def _batches(slices: Sequence[_Slice], settings: UnetSettings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of augmented crops: images (b, 1, crop, crop) and targets (b, 1, crop, crop) of 0 and 1."""
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
        yield torch.stack([torch.as_tensor(each["image"]) for each in drawn]), (targets == 1).float()


def _crop(each: _Slice, value: int, side: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A square crop near a pixel of that value, or anywhere if there is none; arrays (1, side, side)."""
    places = np.flatnonzero(each.target == value)
    place = int(places[rng.integers(len(places))]) if len(places) else int(rng.integers(each.target.size))
    corner = []
    for at, length in zip(np.unravel_index(place, each.target.shape), each.target.shape, strict=True):
        corner.append(int(np.clip(at - rng.integers(side // 4, side - side // 4), 0, length - side)))
    part = tuple(slice(start, start + side) for start in corner)
    return {"image": each.image[part][None], "target": each.target[part].astype(np.float32)[None]}


def _augmentation(settings: UnetSettings):
    """MONAI's transforms, seeded; without mirroring, since the liver is on one side."""
    from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandGaussianNoised, RandScaleIntensityd

    keys = ["image", "target"]
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
            RandScaleIntensityd(["image"], factors=0.15, prob=0.5),
            RandAdjustContrastd(["image"], prob=0.3, gamma=(0.8, 1.25)),
            RandGaussianNoised(["image"], prob=0.3, std=0.03),
        ]
    )
    chain.set_random_state(settings.seed)
    return chain


def _loss():
    from monai.losses import DiceCELoss

    return DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)


@torch.inference_mode()
def _dice(network: torch.nn.Module, slices: Sequence[_Slice], shape: UnetShape, device: str) -> float:
    """Dice over all pixels of all slices together, inside the liver."""
    network.eval()
    shared = total = 0
    for start in range(0, len(slices), 8):
        chunk = slices[start : start + 8]
        images = torch.from_numpy(np.stack([each.image for each in chunk])[:, None]).to(device)
        logits = network(images)
        marked = (logits[:, 1] > logits[:, 0]).cpu().numpy() & np.stack([each.target > 0 for each in chunk])
        tumor = np.stack([each.target == 1 for each in chunk])
        shared += int(np.count_nonzero(marked & tumor))
        total += int(np.count_nonzero(marked)) + int(np.count_nonzero(tumor))
    return 2.0 * shared / total if total else 1.0


def _monai_version() -> dict[str, str]:
    from importlib.metadata import version

    return {"monai": version("monai")}
