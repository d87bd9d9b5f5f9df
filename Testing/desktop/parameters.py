"""The module `slicer.parameterNodeWrapper`: typed parameters over a real MRML node.

Stored as Slicer 5.12 stores them, so that a scene saved here opens there: numbers and texts as strings, bool as
"True" or "False", an enum by its member's name, a node as a reference beside an empty parameter of the same name, a
FloatRange as two parameters. Not here: lists, dicts, tuples, unions, parameter packs, generated widgets.
"""

import enum
import types
import typing
from pathlib import Path, PurePath

import slicer
import slicer.util
import vtk

from .connectors import createGuiConnector, parameterNameOf
from .parameter_types import (
    Choice,
    Decimals,
    Default,
    FloatRange,
    Maximum,
    Minimum,
    RangeBounds,
    SingleStep,
    WithinRange,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "FloatRange",
    "Maximum",
    "Minimum",
    "RangeBounds",
    "SingleStep",
    "WithinRange",
    "parameterNodeWrapper",
]


class Parameter:
    """One annotated parameter: how it is checked and where in the node it lies."""

    def __init__(self, name: str, hint: object, default: object) -> None:
        annotated = typing.get_origin(hint) is typing.Annotated
        self.name = name
        self.annotations = hint.__metadata__ if annotated else ()
        kind = hint.__origin__ if annotated else hint
        if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
            kinds = [part for part in typing.get_args(kind) if part is not type(None)]
            kind = kinds[0] if len(kinds) == 1 and issubclass(kinds[0], slicer.vtkMRMLNode) else kind
        known = (int, float, str, bool, enum.Enum, slicer.vtkMRMLNode, PurePath, FloatRange)
        if not isinstance(kind, type) or not issubclass(kind, known):
            raise AttributeError(f"Testing/desktop: parameter {name} has a type without a stand-in: {kind}")
        self.kind = kind
        chosen = self.annotation(Default)
        if default is None:
            default = chosen.value if chosen else self._plainDefault()
        self.default = default

    def annotation(self, kind: type):
        """The annotation of a class, or None."""
        return next((found for found in self.annotations if isinstance(found, kind)), None)

    def isNode(self) -> bool:
        return issubclass(self.kind, slicer.vtkMRMLNode)

    def isIn(self, node) -> bool:
        return bool(node.HasParameter(f"{self.name}._minimum" if self.kind is FloatRange else self.name))

    def read(self, node):
        if self.isNode():
            return node.GetNodeReference(self.name)
        if not self.isIn(node):
            self.write(node, self.default)
        if self.kind is FloatRange:
            return FloatRange(*(float(node.GetParameter(f"{self.name}._{end}")) for end in ("minimum", "maximum")))
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)

    def write(self, node, value) -> None:
        """
        :raises ValueError: for a value that an annotation forbids.
        :raises TypeError: for one of another type.
        """
        for validator in self.annotations:
            if hasattr(validator, "validate"):
                validator.validate(value)
        accepted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, accepted) and not (self.isNode() and value is None):
            raise TypeError(f"Parameter {self.name} takes {self.kind.__name__}, not {value!r}")
        with slicer.util.NodeModify(node):
            if self.isNode():
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            elif self.kind is FloatRange:
                for end in ("minimum", "maximum"):
                    node.SetParameter(f"{self.name}._{end}", str(getattr(value, end)))
            elif issubclass(self.kind, enum.Enum):
                node.SetParameter(self.name, value.name)
            else:
                node.SetParameter(self.name, str(self.kind(value)))

    def _plainDefault(self):
        if self.isNode():
            return None
        if issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        choice = self.annotation(Choice)
        return choice.choices[0] if choice else Path() if issubclass(self.kind, PurePath) else self.kind()


def parameterNodeWrapper(cls: type) -> type:
    """Make a class of annotations into a wrapper of a vtkMRMLScriptedModuleNode."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    namespace = {name: _property(parameter) for name, parameter in parameters.items()}
    return type(cls.__name__, (Wrapper,), {**namespace, "allParameters": parameters, "__doc__": cls.__doc__})


def _property(parameter: Parameter) -> property:
    return property(
        lambda self: parameter.read(self.parameterNode), lambda self, value: parameter.write(self.parameterNode, value)
    )


class Wrapper:
    """What every wrapped class can do besides having its parameters as attributes."""

    allParameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode) -> None:
        self.parameterNode = parameterNode
        self._guis = {}
        self._nextTag = 0
        self._updatingGui = False
        for parameter in self.allParameters.values():
            if not parameter.isIn(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def default(self, name: str):
        return Default(self.allParameters[name].default)

    def getValue(self, name: str):
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name: str, value) -> None:
        self.allParameters[name].write(self.parameterNode, value)

    def connectGui(self, ui) -> int:
        """Bind the widgets whose property SlicerParameterName names a parameter; a tag for disconnectGui."""
        widgets = ui.findChildren() if hasattr(ui, "findChildren") else vars(ui).values()
        return self.connectParametersToGui({name: widget for widget in widgets if (name := parameterNameOf(widget))})

    def connectParametersToGui(self, mapping: dict[str, object]) -> int:
        for name in mapping:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a parameter named {name}")
        connectors = {name: createGuiConnector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda name=name, connector=connector: self._onGui(name, connector))
        observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._updateGui)
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        connectors, observer = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.disconnect()
        if observer is not None:
            self.parameterNode.RemoveObserver(observer)

    def _onGui(self, name: str, connector) -> None:
        if not self._updatingGui:
            self.setValue(name, connector.read())

    def _updateGui(self, caller=None, event=None) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for connectors, _ in list(self._guis.values()):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified) -> None:
        self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()
