"""Random buildout configurations over a small universe of projects, for comparing runs with the cache and
without it."""

import random

import dists

#: Versions of each project, with what they require.
WHEELS = {
    "alpha": {v: () for v in ("1.0", "1.1", "2.0", "2.0.post1", "2.1rc1", "3.0.dev1")},
    "beta-two": {"0.9": ["alpha>=1"], "1.0": ["alpha>=1.0,<2"], "1.1": ["alpha>=2"]},
    "gamma.ns": {"1.0": (), "1!0.5": ()},
    "delta_under": {"1.0": ["gamma.ns"], "1.0+abc.1": ["gamma.ns"], "1.5": ["Gamma_NS", "zeta"]},
    "epsilon": {
        "1.0": [
            "zeta; python_version >= '3'",
            "nosuch; sys_platform == 'win32'",
            "beta-two<1.1; extra == 'old'",
            "beta-two; extra == 'new'",
            "alpha>=2; extra == 'new'",
        ]
    },
    "zeta": {"1.0": (), "1.1": (), "1.2": ()},
    "Kappa": {"1.0": ["zeta>=1.0"]},
}
EXTRAS = ["old", "new"]
#: Projects whose archives need something special.
SPECIAL = {"theta": ["1.0", "1.1"], "iota": ["1.0"], "eta": ["1.0"], "lambda": ["1.0"]}
#: A version that is yanked.
YANKED = "zeta-1.2-py3-none-any.whl"
#: Versions that only the folder of `find-links` has.
LINKED = {"alpha": {"1.5": ()}, "zeta": {"1.3": ()}, "mu": {"1.0": ["alpha<2"], "1.1": ["alpha"]}}


def make_archives(index, links):
    """Put the archives of all versions into the folders of an index, and of find-links."""
    data = "Kappa-1.0.data"
    schemes = {
        data + "/purelib/kappa_pure.py": "PURE = True\n",
        data + "/scripts/kappa-script": "#!python\nprint('kappa')\n",
        data + "/headers/kappa.h": "#define KAPPA\n",
        data + "/data/share/kappa.txt": "data\n",
    }
    for name, versions in WHEELS.items():
        extras = EXTRAS if name == "epsilon" else ()
        more = schemes if name == "Kappa" else None
        for version, requires in versions.items():
            dists.wheel(index, name, version, requires, extras=extras, more=more)
    dists.wheel(index, "zeta", "1.1", build="2", marker="second build")
    dists.sdist(index, "theta", "1.0", more="install_requires=['zeta']")
    dists.sdist(index, "theta", "1.1", more="setup_requires=['zeta<1.1']")
    dists.sdist(index, "iota", "1.0", setup=False)
    dists.zipped_egg(index, "eta", "1.0", ["zeta"])
    dists.c_sdist(index, "lambda", "1.0")
    for name, versions in LINKED.items():
        for version, requires in versions.items():
            dists.wheel(links, name, version, requires)


def versions_of(name):
    found = list(SPECIAL.get(name, ()))
    for universe in (WHEELS, LINKED):
        found += universe.get(name, {})
    return found


def all_versions():
    """Pairs of a project and a version of it."""
    names = sorted(set(WHEELS) | set(SPECIAL) | set(LINKED))
    return [(name, version) for name in names for version in versions_of(name)]


class Configuration:
    """The configuration of a seed, and the runs to make with it."""

    def __init__(self, seed):
        self.random = rng = random.Random(seed)
        self.names = sorted(WHEELS) + ["mu"] + [n for n in sorted(SPECIAL) if rng.random() < 0.2]
        self.cached = [it for it in all_versions() if rng.random() < rng.choice([0.2, 0.5])]
        self.has_links = rng.random() < 0.6
        self.develops = rng.random() < 0.2
        self.parts = ["part%d" % n for n in range(rng.choice([1, 1, 2, 3]))]
        self.sections = {name: self._part() for name in self.parts}
        self.versions = self._versions()
        self.options = self._options()
        #: The arguments of each run.
        self.runs = rng.choice(
            [[[]], [[], []], [["-v"], []], [[], ["-N"]], [["-N"]], [["-o"]], [[], ["-o"]], [["-U"], ["-vv"]]]
        )
        if rng.random() < 0.15:
            self._use_macro()

    def text(self, head):
        """The text of the configuration file, with `head` at the begin of its `buildout` section."""
        lines = ["[buildout]", head, "parts = " + " ".join(self.parts)]
        lines += ["%s = %s" % it for it in sorted(self.options.items())]
        for name, section in sorted(self.sections.items()):
            lines += ["", "[%s]" % name] + ["%s = %s" % it for it in sorted(section.items())]
        lines += ["", "[versions]"] + ["%s = %s" % it for it in sorted(self.versions.items())]
        return "\n".join(lines) + "\n"

    def _spelled(self, name):
        """A name as people write it: any case and separator."""
        rng = self.random
        if rng.random() < 0.7:
            return name
        return rng.choice([name.upper(), name.lower(), name.replace("_", "-"), name.replace(".", "-")])

    def _requirement(self):
        rng = self.random
        name = rng.choice(self.names)
        text = self._spelled(name)
        if name == "epsilon" and rng.random() < 0.7:
            text += "[%s]" % rng.choice(["old", "new", "old,new"])
        return text + self._specifier(name) if rng.random() < 0.4 else text

    def _specifier(self, name):
        rng = self.random
        version = rng.choice(versions_of(name))
        return rng.choice(["==", ">=", "<=", "!=", ">", "<", "=="]) + version

    def _part(self):
        rng = self.random
        eggs = [self._requirement() for _ in range(rng.choice([1, 2, 3]))]
        section = {"recipe": "zc.recipe.egg", "eggs": "\n  ".join([""] + eggs)}
        if rng.random() < 0.3:
            section["dependent-scripts"] = "true"
        if rng.random() < 0.3:
            section["interpreter"] = "py"
        if rng.random() < 0.15:
            section["relative-paths"] = "true"
        if rng.random() < 0.1:
            section["recipe"] = "zc.recipe.egg:eggs"
        return section

    def _use_macro(self):
        """Let a part take its options from another section."""
        name = self.random.choice(self.parts)
        self.sections["common"] = self.sections[name]
        self.sections[name] = {"<": "common"}

    def _versions(self):
        rng, pins = self.random, {}
        for name in self.names:
            if rng.random() < 0.45:
                pins[self._spelled(name)] = rng.choice(versions_of(name))
            elif rng.random() < 0.1:
                pins[self._spelled(name)] = self._specifier(name).replace("==", ">=")
        return pins

    def _options(self):
        rng, options = self.random, {}
        for name, value, chance in (
            ("show-picked-versions", "true", 0.5),
            ("prefer-final", "false", 0.15),
            ("allow-picked-versions", "false", 0.1),
            ("newest", "false", 0.1),
            ("relative-paths", "true", 0.1),
            ("unzip", "true", 0.1),
            ("update-versions-file", "picked.cfg", 0.1),
            ("log-level", "DEBUG", 0.1),
        ):
            if rng.random() < chance:
                options[name] = value
        if self.develops:
            options["develop"] = "src"
        return options

    def is_verbose(self, arguments):
        """Whether a run says more than buildout says by default."""
        return "log-level" in self.options or any("-v" in it for it in arguments)

    @property
    def is_exact(self):
        """Whether the first run must end as it does without the cache. With `-N` and `-o`, a cached
        version is as good as an installed one (docs/reference/options.md)."""
        first = self.runs[0]
        return self.options.get("newest") != "false" and not {"-N", "-o"} & set(first)
