"""Waiting for a condition, with an end."""
import sys
import time


def waiter(seconds, pause):
    """A `wait_for` that gives up after so many seconds unless it is told otherwise, and looks every `pause` seconds."""
    def wait_for(what, condition, seconds=seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := condition():
                return answer
            time.sleep(pause)
        sys.exit(f"waited {seconds} s in vain for {what}")
    return wait_for
