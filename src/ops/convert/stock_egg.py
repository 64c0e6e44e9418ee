# Makes the egg of one wheel as zc.buildout does, with pip, and prints its path.
import sys

sys.path[:] = [path for path in sys.path if path]  # no module comes from the current directory

wheel, folder = sys.argv[1:]
from zc.buildout import easy_install

[egg] = easy_install.call_pip_install(wheel, folder)
sys.stdout.write("\n" + egg + "\n")
