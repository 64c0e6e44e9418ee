"""Update the table in docs/explanation/reliability.md from the counts of a run, and print it.

    python3 tests/reliability/table.py COUNTS

COUNTS is the file that `counts.rs` writes: one JSON line per matrix and category.
"""

import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "explanation", "reliability.md")
BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"


def main():
    tried = {}
    for line in open(sys.argv[1]):
        count = json.loads(line)
        key = count["matrix"], count["of"]
        tried[key] = tried.get(key, 0) + count["tried"]
    rows = ["| matrix | of | tried |", "|---|---|---:|"]
    rows += ["| %s | %s | %s |" % (*key, format(tried[key], ",")) for key in sorted(tried)]
    matrices = sorted({matrix for matrix, _ in tried})
    totals = [sum(tried[key] for key in tried if key[0] == matrix) for matrix in matrices]
    rows += ["| **%s** | all | **%s** |" % (m, format(n, ",")) for m, n in zip(matrices, totals)]
    table = "\n".join(rows) + "\n"
    page = open(PAGE).read()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    with open(PAGE, "w") as file:
        file.write(before + BEGIN + "\n" + table + "\n" + END + after)
    print(table, end="")
    print("\nall cases passed: a failing case would have ended the run")


main()
