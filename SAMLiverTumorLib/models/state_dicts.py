"""The network's weights among whatever a training script has saved around them.

Wrappers (`{"model": ...}`, `{"state_dict": {...}, "epoch": 7}`) and prefixes (`module.`, `sam.`) are the same thing
here: the way to a weight, its keys joined by dots. What stands before `image_encoder.` is taken off, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
"""What a Segment Anything network consists of, by the names of its weights."""

# Modules that PyTorch and others put around a module, anywhere in a network, and that add nothing to it.
_SHELLS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})

# Every Segment Anything network has it. An optimizer's state by name has the parts, and not this.
_TOUCHSTONE = "prompt_encoder.no_mask_embed.weight"

# Names and places in messages.
_SHOWN = 4


class _Entry(NamedTuple):
    """A tensor in a checkpoint.

    :param keys: the way to it; shells are left out.
    :param name: its name in the dictionary that it lies in, likewise.
    :param prefix: what stands before the part of the network that it belongs to, shells included; None for others.
    :param holder: identity of the dictionary that it lies in.
    """

    keys: tuple[str, ...]
    name: str
    prefix: str | None
    holder: int
    value: Tensor


def network_state(loaded: Any, file_name: str) -> dict[str, Tensor]:
    """The weights of the one network in a checkpoint, by the names that the network itself gives them.

    Numbers, texts and optimizers beside the weights do not matter. A file without any part of a Segment Anything
    network gives the largest dictionary of tensors in it.

    >>> network_state({"epoch": 7, "state_dict": {"model.mask_decoder.x": torch.ones(2)}}, "last.ckpt")
    {'mask_decoder.x': tensor([1., 1.])}

    :param loaded: what the file holds: dictionaries and lists of anything.
    :raises ModelError: no weights by name, or several networks with different weights.
    """
    entries = _entries(loaded)
    networks: dict[str, dict[str, Tensor]] = {}
    for prefix in dict.fromkeys(entry.prefix for entry in entries if entry.prefix is not None):
        networks[prefix] = _network(entries, prefix)
    whole = {
        prefix: state for prefix, state in networks.items() if parts_of(state) == list(PARTS) and _TOUCHSTONE in state
    }
    if not whole:
        together = _joined(networks.values())
        whole = networks if together is None else {"": together}
    if whole:
        return _only(whole, file_name)
    holders: dict[int, dict[str, Tensor]] = {}
    for entry in entries:
        holders.setdefault(entry.holder, {})[entry.name] = entry.value
    if not holders:
        raise ModelError(
            f"'{file_name}' holds no weights by name; save the network's state_dict, alone or under 'model'."
        )
    return max(holders.values(), key=len)


def parts_of(names: Iterable[str]) -> list[str]:
    """Which parts of a Segment Anything network weights belong to, in the order of `PARTS`."""
    found = {name.split(".", 1)[0] for name in names}
    return [part for part in PARTS if part in found]


def spell_out(parts: Iterable[str]) -> str:
    """For messages: "prompt encoder and mask decoder"."""
    return " and ".join(part.replace("_", " ") for part in parts)


def starts_of(names: Iterable[str]) -> str:
    """For messages: the first few words that names begin with; two for names of an image encoder."""
    words = [name.split(".") for name in names]
    starts = list(dict.fromkeys(".".join(each[: 2 if each[0] == PARTS[0] else 1]) for each in words))
    return listed((start[:40] for start in starts), _SHOWN)


def _entries(loaded: Any) -> list[_Entry]:
    """All tensors with a name, in their order; of containers that occur twice the first."""
    from torch import Tensor

    found: list[_Entry] = []
    seen: set[int] = set()
    # Not by recursion: a damaged or hostile file nests deeper than Python's stack. The holder is 0 for a tensor that is
    # numbered instead of named.
    waiting: list[tuple[tuple[str, ...], int, Any]] = [((), 0, loaded)]
    while waiting:
        keys, holder, value = waiting.pop()
        if isinstance(value, Tensor):
            if holder:
                found.append(_entry(keys, holder, value))
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Mapping):
                inside = [((*keys, str(key)), id(value) * isinstance(key, str), held) for key, held in value.items()]
            else:
                inside = [((*keys, str(n)), 0, held) for n, held in enumerate(value)]
            waiting.extend(reversed(inside))
    return found


def _entry(way: tuple[str, ...], holder: int, value: Tensor) -> _Entry:
    keys = tuple(key for part in way for key in part.split("."))
    at = next((n for n, key in enumerate(keys) if key in PARTS), None)
    prefix = None if at is None else "".join(f"{key}." for key in keys[:at])
    name = ".".join(key for key in way[-1].split(".") if key not in _SHELLS)
    return _Entry(tuple(key for key in keys if key not in _SHELLS), name, prefix, holder, value)


def _network(entries: list[_Entry], prefix: str) -> dict[str, Tensor]:
    """The weights behind a prefix: its parts, and what lies in the same dictionary under the same prefix."""
    start = tuple(key for key in prefix.split(".") if key and key not in _SHELLS)
    holders = {entry.holder for entry in entries if entry.prefix == prefix}
    state = {}
    for entry in entries:
        name = entry.keys[len(start) :]
        beside = entry.prefix is None and entry.holder in holders and entry.keys[: len(start)] == start
        # one number without a module is an epoch or a score, and no weight
        if entry.prefix == prefix or (beside and name and (len(name) > 1 or entry.value.numel() > 1)):
            state[".".join(name)] = entry.value
    return state


def _joined(networks: Iterable[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """One network out of parts that were saved side by side under different names; None where they are none."""
    states = list(networks)
    parts = [part for state in states for part in parts_of(state)]
    if sorted(parts) != sorted(PARTS):
        return None
    return {name: value for state in states for name, value in state.items()}


def _only(networks: dict[str, dict[str, Tensor]], file_name: str) -> dict[str, Tensor]:
    """The one network, however often it is there.

    :raises ModelError: there are several.
    """
    first, *others = networks.values()
    if all(_same(first, other) for other in others):
        return first
    places = [f"'{prefix.rstrip('.')}'" if prefix else "the top" for prefix in networks]
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    raise ModelError(
        f"'{file_name}' holds {len(networks)} networks with different weights, under {', '.join(places[:_SHOWN])}"
        f"{more}; save the one that you mean as a file of its own."
    )


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    import torch

    return one.keys() == other.keys() and all(
        value.shape == other[name].shape and value.dtype == other[name].dtype and torch.equal(value, other[name])
        for name, value in one.items()
    )
