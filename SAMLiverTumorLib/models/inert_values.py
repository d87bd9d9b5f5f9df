"""Plain values of Python and NumPy that lie beside the weights in a checkpoint, opened without running any of them.

Training scripts keep their options (`argparse.Namespace`), paths and scores (`numpy.float64`) in the same file.
PyTorch's restricted reader refuses the whole file for one of these. Here each becomes an empty object instead: the
class that the file names is neither imported nor called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Classes that hold data and do nothing, by the names under which versions of Python and NumPy write them.
_PLAIN = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    *(
        f"{module}.{kind}"
        for module in ("pathlib", "pathlib._local")
        for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *(
        f"numpy.{module}.{name}"
        for module in ("core.multiarray", "_core.multiarray", "_core.numeric")
        for name in ("scalar", "_reconstruct", "_frombuffer")
    ),
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"numpy.dtypes.{kind}DType"
        for kind in ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    ),
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float16", "Float32", "Float64", "Str", "Bytes", "Object")),
    *(f"numpy.{kind}" for kind in ("bool_", "bool", "float16", "float32", "float64", "int32", "int64", "uint8")),
    # what a defaultdict is filled with; never called
    *(f"builtins.{kind}" for kind in ("int", "float", "str", "bool", "list", "dict", "tuple")),
    *(f"builtins.{kind}" for kind in ("frozenset", "slice", "range")),
    *(f"numpy.random._pickle.__{kind}_ctor" for kind in ("generator", "bit_generator", "randomstate")),
    *(f"numpy.random._{kind.lower()}.{kind}" for kind in ("PCG64", "MT19937", "Philox", "SFC64")),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
    "numpy.random.bit_generator.SeedSequence",
    *(f"omegaconf.base.{kind}" for kind in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.{kind.lower()}.{kind}" for kind in ("DictConfig", "ListConfig")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Integer", "Float", "String", "Boolean", "Path")),
    "typing.Any",
)

# Dictionaries with another name, for the options of a training run.
_DICTIONARIES = (
    "addict.addict.Dict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)


class Inert:
    """Stands for a value that nobody needs; takes whatever it is made with, and keeps nothing."""

    def __new__(cls, *_args: Any, **_named: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_named: Any) -> None:
        """Nothing is kept."""

    def __setstate__(self, state: Any) -> None:
        """Nothing is kept."""


def _empty_dict(*_args: Any) -> dict:
    return {}


def _empty_list(*_args: Any) -> list:
    return []


@contextmanager
def plain_values_are_inert() -> Iterator[None]:
    """Within the block `torch.load(weights_only=True)` reads such values as `Inert`, and refuses all others still.

    Versions of PyTorch that cannot give a class under another name refuse all.
    """
    from torch import serialization

    if not hasattr(serialization, "safe_globals"):
        yield
        return
    # these are filled item by item, which the reader does with true dictionaries and lists alone
    stands_for: list[Any] = [(_empty_dict, "collections.defaultdict"), (_empty_list, "collections.deque")]
    stands_for += [(OrderedDict, name) for name in _DICTIONARIES]
    stands_for += [(Inert, name) for name in _PLAIN]
    try:
        allowed = serialization.safe_globals(stands_for)
        allowed.__enter__()
    except (TypeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        allowed.__exit__(None, None, None)
