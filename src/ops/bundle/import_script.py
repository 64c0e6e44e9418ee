"""Import a script that buildout has written, as if it were a module: its main function is not called.

Exit with 3 if a script runs when it is imported, since it does not end with a test of ``__name__``.
"""

import ast
import os
import runpy
import signal
import sys


def runs_at_import(path):
    with open(path, "rb") as file:
        last = ast.parse(file.read()).body[-1:]
    test = getattr(last[0], "test", None) if last else None
    return getattr(getattr(test, "left", None), "id", None) != "__name__"


def main(path, seconds):
    if runs_at_import(path):
        return 3
    # An import that does not end is ended.
    signal.alarm(int(seconds))
    sys.argv = [path]
    if sys.path[:1] == [""]:
        sys.path[0] = os.path.dirname(path)
    try:
        runpy.run_path(path, run_name="imported_script")
    except BaseException as error:
        sys.stderr.write("\n%s: %s\n" % (type(error).__name__, " ".join(str(error).split())))
        return 1
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stderr.flush()
    # Threads that an import has started are not waited for.
    os._exit(status)
