"""PythonQt's behavior on PySide6: properties are attributes, signals connect by their C++ signature.

`label.text` is the text and `label.text = "a"` sets it, for every Qt property of every class; what is neither
property nor method cannot be set, so that a misspelled property fails here as it does in Slicer.
"""

import inspect

import shiboken6
from PySide6 import QtCore


class PythonQtType(type(QtCore.QObject)):
    """Makes classes with PythonQt's habits; `isinstance` takes what Qt made by itself for one of them."""

    def __new__(metaclass, name, bases, namespace, **options):
        # PySide finds its own QObject.connect first unless the very class of an object defines it.
        habits = {"connect": connect, "disconnect": disconnect, "findChildren": findChildren}
        habits |= {"__getattr__": _getAttribute, "__setattr__": _setAttribute}
        namespace = {**habits, **namespace}
        return super().__new__(metaclass, name, bases, namespace, **options)

    def __instancecheck__(cls, instance):
        return isinstance(instance, cls.__dict__.get("native", ())) or type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass):
        return issubclass(subclass, cls.__dict__.get("native", ())) or type.__subclasscheck__(cls, subclass)


def pythonQtClass(native: type, module: str = "qt") -> type:
    """The class of one of PySide's QObject classes under PythonQt's habits."""
    for cls in native.__mro__:
        if "staticMetaObject" in cls.__dict__ and cls not in _withAttributes:
            _withAttributes.add(cls)
            _addAttributes(cls)
    namespace = {"native": native, "__module__": module}
    if hasattr(native, "exec") and not hasattr(native, "exec_"):
        namespace["exec_"] = native.exec
    return PythonQtType(native.__name__, (native,), namespace)


def connect(self, signal: str, slot) -> bool:
    """Connect a signal named by its signature, "clicked(bool)"; the slot gets as many arguments as it takes."""
    instance, count = _signal(self, signal)
    taken = min(count, _argumentCount(slot))

    # PySide looks at the arguments that a function takes, too: one of *arguments gets none from clicked(bool).
    call = (lambda: slot(), lambda a: slot(a), lambda a, b: slot(a, b), lambda a, b, c: slot(a, b, c))[taken]
    instance.connect(call)
    self.__dict__.setdefault("_connected", []).append((signal, slot, instance, call))
    return True


def disconnect(self, signal: str, slot) -> bool:
    """Undo `connect`; False if there was no such connection."""
    for entry in self.__dict__.get("_connected", []):
        if entry[0] == signal and entry[1] == slot:
            entry[2].disconnect(entry[3])
            self._connected.remove(entry)
            return True
    return False


def findChildren(self, cls=QtCore.QObject, name: str = "") -> list:
    """Descendants of a class, of one name if given."""
    children = QtCore.QObject.findChildren(self, QtCore.QObject)
    return [child for child in children if isinstance(child, cls) and (not name or child.objectName == name)]


def _getAttribute(self, name: str):
    dynamic = "" if name.startswith("__") or not shiboken6.isValid(self) else name
    if dynamic and dynamic in [bytes(key).decode() for key in self.dynamicPropertyNames()]:
        return self.property(dynamic)
    raise AttributeError(f"Testing/desktop: {type(self).__name__} has no attribute {name}")


def _setAttribute(self, name: str, value) -> None:
    cls = type(self)
    inClass = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    derived = cls.__module__.split(".")[0] not in ("qt", "ctk", "slicer", "desktop")
    if isinstance(inClass, QtCore.Property):
        inClass.fset(self, value)
    elif hasattr(type(inClass), "__set__"):
        inClass.__set__(self, value)
    elif inClass is not None or name.startswith("_") or derived:
        self.__dict__[name] = value
    elif self.property(name) is not None:
        self.setProperty(name, value)
    elif name not in childNames:
        raise AttributeError(f"Testing/desktop: {cls.__name__} has no property {name} to set")


def _signal(sender: QtCore.QObject, text: str) -> tuple:
    """The signal of a signature and its number of arguments.

    :raises AttributeError: for a signature that the sender does not have, which PythonQt would ignore.
    """
    signature = bytes(QtCore.QMetaObject.normalizedSignature(text).data()).decode()
    name, _, arguments = signature.rstrip(")").partition("(")
    count = len([argument for argument in arguments.split(",") if argument])
    for cls in type(sender).__mro__:
        # MRML pointers travel as Python objects; the class lists its signals under Slicer's signatures.
        if signature in cls.__dict__.get("signatures", {}):
            return getattr(sender, cls.signatures[signature]), count
    if sender.metaObject().indexOfSignal(signature) < 0:
        raise AttributeError(f"Testing/desktop: {type(sender).__name__} has no signal {text}")
    return getattr(sender, name), count


def _argumentCount(slot) -> int:
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return 1  # Qt's own methods: a setter or a slot
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 99
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([parameter for parameter in parameters if parameter.kind in positional])


def _addAttributes(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        qtProperty = meta.property(index)
        if index < meta.propertyOffset() and qtProperty.name() not in cls.__dict__:
            continue  # inherited, and no method of this class hides it
        setattr(cls, qtProperty.name(), _attribute(cls, qtProperty.name(), qtProperty.isWritable()))
    if cls is QtCore.QObject:
        cls.name = cls.__dict__["objectName"]
        cls.className = lambda self: type(self).__name__
        cls.delete = shiboken6.delete


def _attribute(cls: type, name: str, writable: bool) -> property:
    title = name[0].upper() + name[1:]
    getters = [getattr(cls, candidate, None) for candidate in (name, f"is{title}", f"has{title}")]
    getter = next((method for method in getters if type(method).__name__ == "method_descriptor"), None)
    setter = getattr(cls, f"set{title}", None)
    if setter is None or type(setter).__name__ != "method_descriptor":

        def setter(self, value):
            self.setProperty(name, value)

    attribute = _Attribute(getter or (lambda self: self.property(name)), setter if writable else None)
    attribute.ofClass = getattr(cls, name, attribute)
    return attribute


class _Attribute(property):
    """A property that leaves the class what it has under that name, such as the static QTimer.singleShot."""

    def __get__(self, instance, owner=None):
        return self.ofClass if instance is None else super().__get__(instance, owner)


_withAttributes: set[type] = set()
# While a .ui file is loaded: PySide hands its root every child as an attribute, PythonQt does not.
childNames: set[str] = set()
