"""Import all modules of the eggs below a folder, and say how that went."""

import importlib
import pkgutil
import sys
import warnings

#: They need what no application has, or end the process.
LEFT_OUT = {"tests", "testing", "__main__"}

warnings.simplefilter("ignore")
folder = sys.argv[1]
for egg in sorted(path for path in sys.path if path.startswith(folder)):
    for module in pkgutil.walk_packages([egg], onerror=lambda name: None):
        if LEFT_OUT & set(module.name.split(".")):
            continue
        try:
            importlib.import_module(module.name)
            print(module.name, "is there")
        except BaseException as error:
            print(module.name, type(error).__name__, error)
