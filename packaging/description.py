"""README.md as PyPI shows it.

Usage: description.py README URL COMMAND... It runs the command, which builds a distribution, while the relative
links of README lead to the files below the URL, because on PyPI they would lead nowhere. An empty URL leaves them.
"""

import email
import re
import subprocess
import sys
from urllib.parse import urljoin

from readme_renderer import markdown

#: The beginning of a link, and its target unless that has a scheme.
LINK = re.compile(r"(?<!!)(\[[^\]]*\]\()(?![a-z]+:)([^)\s]+)")


def rendered(text):
    """The HTML that PyPI makes of Markdown; empty if nothing is left."""
    return (markdown.render(text) or "").strip()


def relative_links(text):
    """The targets of links and images that are not absolute."""
    return re.findall(r'(?:href|src)="(?![a-z]+:)([^"]*)"', rendered(text))


def with_absolute_links(text, url):
    page = url + "/README.md"
    return LINK.sub(lambda link: link.group(1) + urljoin(page, link.group(2)), text)


def problems(metadata):
    """Why PyPI does not show the description in the metadata of a distribution, in sentences."""
    message = email.message_from_string(metadata)
    kind = message.get("Description-Content-Type", "text/plain").partition(";")[0]
    if kind != "text/markdown":
        yield "the description is %s and not text/markdown" % kind
    elif not rendered(message.get_payload()):
        yield "nothing is left of the description when PyPI renders it"


def run_with_absolute_links(readme, url, command):
    """Run a command while README has absolute links; return its exit code."""
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    absolute = with_absolute_links(text, url)
    left = relative_links(absolute)
    if left:
        sys.exit("%s: links that lead nowhere on PyPI: %s" % (readme, ", ".join(left)))
    write(readme, absolute)
    try:
        return subprocess.call(command)
    finally:
        write(readme, text)


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(readme, url, *command):
    if not url:
        print("!!! %s keeps its relative links; LINKS=URL makes them absolute" % readme, file=sys.stderr)
        sys.exit(subprocess.call(command))
    sys.exit(run_with_absolute_links(readme, url, command))


if __name__ == "__main__":
    main(*sys.argv[1:])
