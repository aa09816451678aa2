"""Imports the package's modules, so that their doctests run in the modules that are installed, not in src/."""

import importlib
import pkgutil

import seqcore

for _module in pkgutil.walk_packages(seqcore.__path__, "seqcore."):
    if not _module.name.endswith(".__main__"):
        importlib.import_module(_module.name)
