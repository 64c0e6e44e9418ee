"""Make buildout keep the eggs that it builds, and copy them into the next buildout.

Installed beside zc.buildout, this package does nothing until a buildout sets ``egg-cache``. It
needs nothing but the standard library, and the ``eggcache`` program that comes with it.
"""


def load(buildout):
    """Extension entry point, for those who let buildout install this: ``extensions = eggcache``."""
    from eggcache import _seam

    _seam.start(buildout)
