"""docs/explanation/performance/results.json: the latest measurements, by section.

    put("growth", {"list": {...}, ...})

keeps the other entries of the section if they come from the same machine and the same versions; otherwise
the section starts from scratch. The file contains no host names and no paths.
"""

import json
import os
import platform
import re

import contenders

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE = os.path.join(ROOT, "docs", "explanation", "performance", "results.json")


def put(section, data):
    results = load()
    here = {"machine": machine(), "versions": contenders.versions()}
    kept = results.get(section, {})
    if (kept.get("machine"), kept.get("versions")) != (here["machine"], here["versions"]):
        kept = {}
    results[section] = {**here, "entries": {**kept.get("entries", {}), **data}}
    os.makedirs(os.path.dirname(FILE), exist_ok=True)
    with open(FILE + ".new", "w") as file:
        json.dump(results, file, indent=1, sort_keys=True)
        file.write("\n")
    os.rename(FILE + ".new", FILE)


def target(name, *values):
    """Store the measured values for a row of the table of targets; see `report.TARGETS`."""
    put("targets", {name: list(values)})


def load():
    try:
        with open(FILE) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / (1 << 30)),
        "system": platform.system(),
        # Only the number: the suffix of a distribution may identify a site.
        "kernel": re.match(r"[0-9.]*[0-9]|", platform.release()).group(),
        "architecture": platform.machine(),
    }
