"""`sam-liver-tumor models`: list, fetch, verify and remove weights; export image encoders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.terminal import confirm_on_terminal, download_bar
from SAMLiverTumorLib.cli.text_table import aligned
from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.models.download.digest import human_size
from SAMLiverTumorLib.models.download.store import ModelStore, StoredModel
from SAMLiverTumorLib.models.registry import get_model

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

_DESCRIPTION = """\
List, fetch, verify and remove model weights.

`export ID FILE.onnx` writes a model's image encoder for other programs, and with --decoder its prompt encoder and mask
decoder; ID may also be the path of a checkpoint.
"""

ACTIONS = ("list", "fetch", "verify", "remove", "export")


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch, verify, remove and export models",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="what to do (default: list)")
    parser.add_argument(
        "model", nargs="?", metavar="ID", help="the model; `verify` without ID verifies all downloaded ones"
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.onnx", help="file that `export` writes")
    parser.add_argument("--decoder", action="store_true", help="export the prompt encoder and mask decoder")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE.onnx")
    parser.add_argument("--yes", action="store_true", help="download without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action; returns 0.

    :raises SAMLiverTumorError: the user can fix it.
    """
    if args.file is not None and args.action != "export":
        raise InputError(f"'{args.file}' is one argument too many; only `models export ID FILE.onnx` takes a file.")
    store = ModelStore()
    if args.action == "list":
        print(table(store.list()))
        print(f"Store: {store.root}")
        return 0
    if args.action == "verify" and args.model is None:
        return _verify_all(store)
    if args.model is None:
        raise InputError(f"Choose a model: sam-liver-tumor models {args.action} ID.")
    if args.action == "export":
        return _export(args)
    info = get_model(args.model)
    if args.action == "fetch":
        with download_bar() as progress:
            path = store.fetch(info, confirm_on_terminal(args.yes), progress)
        print(f"{info.id}: {path}")
    elif args.action == "verify":
        store.verify(info)
        print(f"{info.id}: size and SHA-256 are correct")
    else:
        print(f"{info.id}: {'removed' if store.remove(info) else 'nothing to remove'}")
    return 0


def table(models: list[StoredModel]) -> str:
    """Id, prompts, size, licence and state, one line per model."""
    rows = [("id", "prompts", "size", "licence", "state")]
    for model in models:
        info = model.info
        state = model.state
        if state == "incomplete":
            state = f"incomplete ({human_size(model.bytes_on_disk)})"
        prompts = ", ".join(name for name in ("points", "box", "mask", "text") if name in info.prompts)
        rows.append((info.id, prompts, human_size(info.size), info.licence, state))
    return "\n".join(aligned(rows))


def _verify_all(store: ModelStore) -> int:
    wrong = []
    for model in store.list():
        if model.state in ("absent", "incomplete"):
            continue
        try:
            store.verify(model.info)
            print(f"{model.info.id}: size and SHA-256 are correct")
        except ModelError as error:
            wrong.append(str(error))
    if wrong:
        raise ModelError(" ".join(wrong))
    return 0


def _export(args: argparse.Namespace) -> int:
    if args.file is None:
        raise InputError("Give a file to write: sam-liver-tumor models export ID FILE.onnx.")
    if args.file.suffix.lower() != ".onnx":
        raise InputError(f"'{args.file}' must end in .onnx.")
    check_output(args.file, args.overwrite)
    model = _load(args)
    if args.decoder:
        from SAMLiverTumorLib.inference.onnx_decoder import export_decoder

        export_decoder(model, args.file, args.overwrite)
        print(f"{args.file}: prompt encoder and mask decoder of {model.info.id}")
        return 0
    from SAMLiverTumorLib.models.networks.pyramid_encoder import EMBEDDING_CHANNELS, PACKED_CHANNELS
    from SAMLiverTumorLib.models.onnx_export import export_encoder

    export_encoder(model, args.file, args.overwrite)
    edge = model.info.input_size
    channels = PACKED_CHANNELS if model.info.architecture == "pyramid" else EMBEDDING_CHANNELS
    print(f"{args.file}: image encoder of {model.info.id}, (1, 3, {edge}, {edge}) to (1, {channels}, 64, 64)")
    return 0


def _load(args: argparse.Namespace) -> SamModel:
    """The model named by id or file, on the CPU."""
    from SAMLiverTumorLib.inference.pool import PredictorPool

    with download_bar() as progress:
        pool = PredictorPool(confirm_on_terminal(args.yes), device="cpu", progress=progress, disk=None)
        return pool.predictor(args.model).model
