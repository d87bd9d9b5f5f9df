"""Installs the Python packages that Slicer lacks, after asking the user. Only inside the Slicer application."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import slicer

from SAMLiverTumorLib.errors import SAMLiverTumorError


def ensurePackages(requirementsPath: str, skip: Sequence[str] = ()) -> None:
    """Install PyTorch, through the PyTorch extension, and the packages of a requirements file, if missing.

    In Slicer's testing mode nothing is installed.

    :param skip: dependencies of those packages that are not to be changed.
    :raises SAMLiverTumorError: if something is missing and the user declines, or it cannot be installed.
    :raises subprocess.CalledProcessError: if pip fails.
    """
    if not _isInstalled("torch") or not _isInstalled("torchvision"):
        _installTorch()
    ensureRequirements(requirementsPath, skip)


def ensureRequirements(requirementsPath: str, skip: Sequence[str] = ()) -> None:
    """As `ensurePackages`, without PyTorch."""
    # Since Slicer 5.12; PyPI's slicer-core comes without it.
    from slicer import packaging

    try:
        requirements = packaging.load_requirements(requirementsPath)
        packaging.pip_ensure(requirements, skip_packages=list(skip) or None, requester="SAM Liver Tumor")
    except RuntimeError as error:  # the user declined
        raise SAMLiverTumorError(str(error)) from error


def _installTorch() -> None:
    if not _isInstalled("PyTorchUtils"):
        raise SAMLiverTumorError(
            'PyTorch is missing. Install the extension "PyTorch" in the Extensions Manager and restart Slicer.'
        )
    if not slicer.app.testingEnabled():
        import PyTorchUtils

        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.2")
        importlib.invalidate_caches()
    if not _isInstalled("torch"):
        raise SAMLiverTumorError('PyTorch was not installed. The module "PyTorch Util" can install it.')


def _isInstalled(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
