"""Drives a real browser for the tests: `main.py SCENARIO ARGUMENTS`, the arguments as a JSON object.

A scenario fails by what it asserts; what it saw last is printed then. Where the test has something to do in the middle,
the scenario prints `reached NAME` and goes on: what the test does shows in the pages, and there it is waited for.
"""
import json
import sys
import traceback

import kill
import live
import restart
import sweep
from visitor import Visitor

SCENARIOS = {"watch": live.watch, "kill": kill.kill, "restart": restart.restart, "sweep": sweep.sweep}


def main():
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    with Visitor() as visitor:
        try:
            SCENARIOS[name](visitor, **arguments)
        except Exception:  # noqa: BLE001 (it is told, with the pages it was about)
            traceback.print_exc()
            visitor.tell_what_is_open()
            sys.exit(1)


main()
