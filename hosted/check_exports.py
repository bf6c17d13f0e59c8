#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does the shared library export what the public headers declare, and nothing else?

Usage: check_exports.py LIBRARY INCLUDE_DIRECTORY
How it works: a declaration is a viodma_ name before a parenthesis, at the beginning of a line or after the return
type, ended by a semicolon; what has a body (static inline) is no symbol. nm names the exported functions.
"""
import pathlib
import re
import subprocess
import sys


def declared(directory):
    names = set()
    for header in sorted(pathlib.Path(directory).glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.M | re.S)
        text = text.replace('extern "C" {', "")
        # Forget everything within braces: bodies, members, enumerators.
        while True:
            text, count = re.subn(r"\{[^{}]*\}", " {} ", text)
            if not re.search(r"\{[^{}]+\}", text):
                break
        for statement in re.split(r";|\{\s*\}", text):
            found = re.match(r"\s*(?!.*\b(?:static|typedef)\b)[\w\s*]*?\b(viodma_\w+)\s*\(", statement, re.S)
            if found:
                names.add(found[1])
    return names


def exported(library):
    text = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    return {line.split()[2].split("@")[0] for line in text.splitlines() if line.split()[1] in "TWDBRV"}


def main():
    want, have = declared(sys.argv[2]), exported(sys.argv[1])
    for name in sorted(want - have):
        print(f"declared but not exported (hosted/viodma.map): {name}")
    for name in sorted(have - want):
        print(f"exported but not declared in a public header: {name}")
    print(f"{len(want)} functions declared, {len(have)} exported")
    return 0 if want == have and want else 1


if __name__ == "__main__":
    sys.exit(main())
