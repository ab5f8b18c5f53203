#!/usr/bin/python3
"""count_tests.py FILE: prints "TESTS BAD" of a JUnit file, as pytest and Criterion write them. A file that
is not there or cannot be read counts as no tests. A skipped test is a bad one: nothing may be skipped."""

import sys
import xml.etree.ElementTree as ET


def main():
    try:
        root = ET.parse(sys.argv[1]).getroot()
    except (OSError, ET.ParseError):
        print(0, 0)
        return
    tests = bad = 0
    for case in root.iter("testcase"):
        tests += 1
        status = case.get("status", "")
        children = {child.tag for child in case}
        bad += bool(children & {"failure", "error", "skipped"}) or status in ("FAILED", "ERRORED", "SKIPPED")
    print(tests, bad)


if __name__ == "__main__":
    main()
