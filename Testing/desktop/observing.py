"""Observers of MRML objects that end with the widget that made them."""

import shiboken6


class Observing:
    """Lets a widget observe MRML objects; an event that finds the Qt object deleted is dropped."""

    def observe(self, source, event, method) -> None:
        """Call `method(caller, event[, calldata])` at each event until `stopObserving`."""

        def call(caller, name, *data):
            if shiboken6.isValid(self):
                method(caller, name, *data)

        if hasattr(method, "CallDataType"):
            call.CallDataType = method.CallDataType
        self.__dict__.setdefault("_observed", []).append((source, source.AddObserver(event, call)))

    def stopObserving(self, source=None) -> None:
        """End the observations of one object, or of all."""
        for entry in list(self.__dict__.get("_observed", [])):
            if source is None or entry[0] is source:
                entry[0].RemoveObserver(entry[1])
                self._observed.remove(entry)
