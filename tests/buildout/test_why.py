"""Where each egg came from: in the log, in the record of the run, and as `eggcache why` prints it."""

import json
import re

import dists

PINS = "alpha = 1.0\nbeta = 1.0\nnative = 1.0"


def origins(output):
    """What the log says of each egg, apart from the recipe, without times."""
    lines = re.findall(r"^eggcache: (\w+) 1\.0 \((.*)\)$", output, re.M)
    return [(name, re.sub(r"\d+\.\d", "N", origin)) for name, origin in lines]


def stock_lines(output):
    """The lines that stock buildout logs about eggs."""
    return [line for line in output.splitlines() if line.startswith(("Getting", "Got", "Installing"))]


def misses(output):
    return re.findall(r"^eggcache: (\w+ 1\.0 was not in the cache: .*)$", output, re.M)


def fill(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.c_sdist("native", "1.0")
    world.project("filling", "beta", versions=PINS).run()


def test_the_log_says_where_each_egg_came_from(world):
    fill(world)
    plain = world.project("plain", "alpha\nnative", versions=PINS).run(cache=False)
    output = world.project("app", "alpha\nnative", versions=PINS).run()
    made = "converted" if world.buildout.generation >= 5 else "built, N s"
    assert sorted(origins(output)) == [("alpha", made), ("beta", "cache"), ("native", "built, N s")]
    assert stock_lines(output) == stock_lines(plain)
    again = world.project("again", "alpha\nnative", versions=PINS)
    assert {origin for _, origin in origins(again.run())} == {"cache"}
    assert origins(again.run()) == [], "nothing was installed"


def test_with_v_the_log_and_the_record_say_why_an_egg_was_a_miss(newest_world):
    world = newest_world
    fill(world)
    world.project("second", "alpha\nnative", versions=PINS).run()
    world.eggcache("remove", "alpha", "--force")
    third = world.project("third", "alpha\nnative", versions=PINS, options="egg-cache-environment = el9")
    output = third.run("-v")
    why = {
        "alpha": "the cache had only other eggs of this project, and has evicted them",
        "beta": "the cache has it without an environment label, and this buildout has the label el9 (egg-cache-environment)",
    }
    lines = misses(output)
    assert len(lines) == 3, lines
    assert "native 1.0 was not in the cache: %s." % why["beta"] in lines
    left = "; not converted: buildout runs with -v."
    assert all("%s 1.0 was not in the cache: %s%s" % (name, text, left) in lines for name, text in why.items())

    run = json.loads(world.eggcache("--json", "why", str(third.path)).stdout)["run"]
    assert run["succeeded"] and run["directory"] == str(third.path)
    assert {egg["name"]: egg["why"] for egg in run["eggs"] if egg["name"] in why} == why
    [line] = [line for line in world.eggcache("why", str(third.path)).stdout.splitlines() if "beta" in line]
    assert why["beta"] in line

    fourth = world.project("fourth", "alpha\nnative", versions=PINS)
    fourth.run()
    text = world.eggcache("why", "alpha").stdout
    assert re.search(r"in %s: alpha 1\.0 \(converted\): removed by hand on \d{4}-" % fourth.path, text)


def test_a_run_that_fails_leaves_a_record(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0", requires=["missing"])
    project = world.project("app", versions="alpha = 1.0")
    project.run(check=False)
    assert project.returncode != 0
    run = json.loads(world.eggcache("--json", "why", str(project.path)).stdout)["run"]
    assert not run["succeeded"]
    [alpha] = [egg for egg in run["eggs"] if egg["name"] == "alpha"]
    assert alpha["miss"]["reason"] == "never-seen"
    assert (run["missing"], run["eggs"][-1]["name"], run["eggs"][-1]["from"]) == (1, "missing", "missing")


def test_offline_only_what_led_to_a_conflict_is_missing(world):
    world.wheel("alpha", "1.0", requires=["beta>=1.0,<2", "gamma>=1.0,<2"])
    world.wheel("beta", "1.0", requires=["missing>=1.0"])
    world.wheel("gamma", "1.0")
    world.wheel("missing", "1.0")
    world.project("filling", versions="alpha = 1.0").run()
    world.eggcache("remove", "missing", "--force")
    project = world.project("app", versions="alpha = 1.0")
    output = project.run("-o", check=False)
    assert project.returncode != 0 and ", 1 missing, " in output, output
    [line] = world.eggcache("why", str(project.path)).stdout.splitlines()
    assert line.startswith("missing 1.0 (missing: offline): removed by hand on "), line


def test_what_a_failing_run_can_neither_get_nor_build_is_in_its_record(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    dists.sdist(world.index, "beta", "1.0", more="**not_defined")
    world.project("filling", versions="alpha = 1.0").run()
    for egg, version in [("alpha", "1.1"), ("beta", "1.0")]:
        pin = "%s = %s" % (egg, version)
        project, plain = world.project(egg, egg, versions=pin), world.project("plain-" + egg, egg, versions=pin)
        assert stock_lines(project.run(check=False)) == stock_lines(plain.run(check=False, cache=False))
        assert project.returncode == plain.returncode != 0
        [line] = world.eggcache("why", str(project.path)).stdout.splitlines()
        lack = {"alpha": "not found", "beta": "its installation failed"}[egg]
        assert line.startswith("%s %s (missing: %s): the cache has " % (egg, version, lack))


def test_offline_the_log_and_the_record_name_the_missing_egg(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    for version in ("1.0", "1.1"):
        world.wheel("beta", version)
    world.project("filling", versions="alpha = 1.0\nbeta = 1.0").run()
    project = world.project("app", versions="alpha = 1.0\nbeta = 1.1")
    output = project.run("-o", check=False)
    assert project.returncode != 0
    why = "the cache has only other versions: 1.0"
    assert "eggcache: beta==1.1 is not in the cache: %s." % why in output, output
    text = world.eggcache("why", str(project.path)).stdout
    assert text == "beta 1.1 (missing: offline): %s\n" % why
    world.project("filled", versions="alpha = 1.0\nbeta = 1.1").run()
    output = project.run("-o")
    assert "is not in the cache" not in output
