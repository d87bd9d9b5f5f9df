"""Options for the network's input channels: further phases or modalities, each with its window."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import MOST_FURTHER, FurtherChannel, further_channel
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS, parse_window
from SAMLiverTumorLib.volume import Volume


def add_channel_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that the functions below read."""
    group.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="FILE[,WINDOW]",
        help=f"another phase or modality, shown besides the CT (at most {MOST_FURTHER}); WINDOW as above (default: "
        f"wide for CT, {PERCENTILE} for everything else)",
    )
    group.add_argument(
        "--register", action="store_true", help="register each --channel to the CT first, rigidly (half a minute each)"
    )


def channel_paths(args: argparse.Namespace) -> list[Path]:
    """The files and folders given as channels."""
    return [_split(text)[0] for text in args.channel]


def check_window_option(text: str) -> None:
    """Check the name of a window before anything is read.

    :raises InputError: it names no window; the text lists those there are.
    """
    if text not in ("auto", PERCENTILE):
        parse_window(text)


def read_channels(args: argparse.Namespace, volume: Volume, note: Callable[[str], None]) -> tuple[FurtherChannel, ...]:
    """Read the further volumes onto the CT's voxels.

    :param note: called with each remark about a volume.
    :raises InputError: there are too many, one is unreadable or does not overlap, or --register is given without any.
    """
    from SAMLiverTumorLib.io.images import read_volume

    if args.register and not args.channel:
        raise InputError("--register needs a further volume; give one as --channel FILE.")
    if len(args.channel) > MOST_FURTHER:
        raise InputError(f"--channel is given {len(args.channel)} times; the network has room for {MOST_FURTHER}.")
    if args.channel and args.channels != "single":
        raise InputError(f"--channel takes the place of --channels {args.channels}; leave one of them out.")
    channels = []
    for text in args.channel:
        path, window = _split(text)
        channel, notes = further_channel(volume, read_volume(path, note=note), window, args.register)
        channels.append(channel)
        for line in notes:
            note(line)
    return tuple(channels)


def _split(text: str) -> tuple[Path, str]:
    """(file, window) of FILE[,WINDOW]; file names may contain commas."""
    if Path(text).exists():
        return Path(text), "auto"
    path, _, name = text.rpartition(",")
    if path and name in (*PRESETS, PERCENTILE, "auto"):
        return Path(path), name
    parts = text.rsplit(",", 2)
    if len(parts) == 3 and all(map(_is_number, parts[1:])):
        return Path(parts[0]), f"{parts[1]},{parts[2]}"
    if path and Path(path).exists():
        parse_window(name)  # raises the error for an unknown window
    return Path(text), "auto"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
