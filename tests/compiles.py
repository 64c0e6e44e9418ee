"""Check that every Python file below some folders compiles with the Python that runs this."""

import io
import os
import sys

failed = False
for root in sys.argv[1:]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(".py"):
                with io.open(path, "rb") as file:
                    content = file.read()
                try:
                    compile(content, path, "exec")
                except SyntaxError as error:
                    failed = True
                    sys.stderr.write(
                        "%s:%s: Python %s: %s\n" % (path, error.lineno, sys.version.split()[0], error.msg)
                    )
sys.exit(failed)
