"""Random buildout configurations over a small universe of projects, for comparing runs with the cache and
without it."""

import copy
import os
import random

import dists
import native
from eggcache._requirements import canonical

#: How many configurations are tried in every run, beside seeds that are kept.
COUNT = 2


def seeds(kept):
    """The seeds to try: those that are kept and a few more, or those in ``EGGCACHE_SEEDS``."""
    if "EGGCACHE_SEEDS" in os.environ:
        first, _, last = os.environ["EGGCACHE_SEEDS"].partition("-")
        return range(int(first), int(last or first) + 1)
    return sorted(set(kept) | set(range(100, 100 + COUNT)))


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
#: Versions of a project whose wheels are for several Pythons, with what they require.
STABLE = {"nu": {"1.0": (), "1.1": ["zeta"]}}
#: A version that is yanked.
YANKED = "zeta-1.2-py3-none-any.whl"
#: Versions that only the folder of `find-links` has.
LINKED = {"alpha": {"1.5": ()}, "zeta": {"1.3": ()}, "mu": {"1.0": ["alpha<2"], "1.1": ["alpha"]}}
#: Options that a configuration of several files can extend and shorten.
LISTS = ("eggs", "parts", "find-links")


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
    for name, versions in STABLE.items():
        for version, requires in versions.items():
            native.abi3_wheel(index, name, version, requires)
    for name, versions in LINKED.items():
        for version, requires in versions.items():
            dists.wheel(links, name, version, requires)


def versions_of(name):
    found = list(SPECIAL.get(name, ()))
    for universe in (WHEELS, LINKED, STABLE):
        found += universe.get(name, {})
    return found


def all_versions():
    """Pairs of a project and a version of it."""
    names = sorted(set(WHEELS) | set(SPECIAL) | set(LINKED))
    return [(name, version) for name in names for version in versions_of(name)]


def place_option(rng, option, value, below, above):
    """Set an option in a section of one file, or in that of the file below it, or partly in both."""
    values, chance = value.split(), rng.random()
    if option in LISTS:
        decoy = rng.choice(["gamma.ns", "nothing-like-it"])
        if chance < 0.4 and len(values) > 1:
            below[option], above[option + " +"] = lines_of(values[:-1]), lines_of(values[-1:])
        elif chance < 0.6 and decoy not in values:
            below[option], above[option + " -"] = lines_of([decoy] + values), lines_of([decoy])
        else:
            below[option] = lines_of(values)
    elif chance < 0.3:
        above[option] = value
    else:
        below[option] = value
        if chance < 0.4:
            below[option], above[option] = "nothing-like-it", value


def lines_of(values):
    return "\n  ".join([""] + values)


def text_of(sections):
    """The text of a file with these sections; ``buildout`` comes first, and ``versions`` last."""
    lines = []
    for name in sorted(sections, key=lambda it: (it == "versions", it != "buildout", it)):
        lines += ["[%s]" % name]
        for option, value in sorted(sections[name].items()):
            lines.append("%s%s= %s" % (option, "" if option.endswith(("+", "-")) else " ", value))
        lines.append("")
    return "\n".join(lines)


class Configuration:
    """The configuration of a seed, and the runs to make with it."""

    def __init__(self, seed):
        self.seed = seed
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
        # What follows came later. It has a generator of its own, which leaves the rest of a seed as it was,
        # and nothing for the seeds of that time that are kept.
        more = random.Random("features %d" % seed)
        if more.random() < 0.25:
            self._use_stable(more)
        self.is_split = more.random() < 0.3

    def files(self, options):
        """The texts of the configuration files by their names; `options` are more of its section `buildout`."""
        first = dict(options, parts=" ".join(self.parts), **self.options)
        sections = dict(self.sections, buildout=first, versions=self.versions)
        files = self._split(sections) if self.is_split else {"buildout.cfg": sections}
        return {name: text_of(content) for name, content in files.items()}

    def of_first_part(self):
        """The same configuration with one part, whose working set an interpreter names.

        Of half of the configurations, it has no constraints, and most versions are cached: otherwise there is
        little to choose, and offline often too little.
        """
        other = copy.deepcopy(self)
        if self.seed % 2:
            rng = random.Random("cached %d" % self.seed)
            other.versions.clear()
            other.cached = [it for it in all_versions() if rng.random() < 0.8]
        other.parts = self.parts[:1]
        other.sections[self.parts[0]].update(recipe="zc.recipe.egg", interpreter="py")
        return other

    def _use_stable(self, rng):
        """Let a part use a project whose wheels are for several Pythons."""
        [name] = STABLE
        section = self.sections[rng.choice(sorted(set(self.sections) & {"common"} or self.parts))]
        section["eggs"] += "\n  " + name + rng.choice(["", "", "==1.0", ">=1.0", "<1.1"])
        self.names.append(name)
        self.cached += [(name, version) for version in versions_of(name) if rng.random() < 0.5]
        if rng.random() < 0.4:
            self.versions[name] = rng.choice(versions_of(name))

    def _split(self, sections):
        """Two or three files that together have these sections: each extends and changes the next one."""
        rng = random.Random("split %d" % self.seed)
        own, base, last = {"buildout": {}}, {"buildout": {}}, {"buildout": {}}
        files = {"buildout.cfg": own, "base.cfg": base}
        if rng.random() < 0.5:
            files["last.cfg"] = last
        for name, section in sorted(sections.items()):
            for option, value in sorted(section.items()):
                lower = last if "last.cfg" in files and rng.random() < 0.4 else base
                below, above = lower.setdefault(name, {}), own.setdefault(name, {})
                place_option(rng, option, value, below, above)
        own["buildout"]["extends"] = "base.cfg"
        if "last.cfg" in files:
            base["buildout"]["extends"] = "last.cfg"
        return files

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

    def requirements(self):
        """The texts of all requirements and constraints."""
        eggs = [text for section in self.sections.values() for text in section.get("eggs", "").split()]
        return eggs + list(self.versions.values())

    def pins(self):
        """Pairs of a normalized name and a version that a part or a constraint pins."""
        return {(canonical(name), version) for name, version in self.spelled_pins()}

    def spelled_pins(self):
        """As `pins`, with the names as they are written."""
        eggs = [text.partition("==") for text in self.requirements()]
        found = {(name.partition("[")[0], version) for name, _, version in eggs if version}
        return found | set(self.versions.items())

    @property
    def is_offline(self):
        return any("-o" in arguments for arguments in self.runs)

    def is_verbose(self, arguments):
        """Whether a run says more than buildout says by default."""
        return "log-level" in self.options or any("-v" in it for it in arguments)

    @property
    def is_exact(self):
        """Whether the first run must end as it does without the cache. With `-N` and `-o`, a cached
        version is as good as an installed one (docs/reference/options.md)."""
        first = self.runs[0]
        return self.options.get("newest") != "false" and not {"-N", "-o"} & set(first)
