"""Store the eggs that buildout builds, and copy them into later buildouts.

Installed beside zc.buildout, this package does nothing until a buildout sets ``egg-cache``. It needs
only the standard library of Python 2.7 or 3.6 and later, and the ``eggcache`` program, which comes with it.
"""


def load(buildout):
    """The entry point for ``extensions = eggcache``, where buildout itself installs this package."""
    from eggcache import _run

    _run.start(buildout)
    _run.advise_pin(buildout)
