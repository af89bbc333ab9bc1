"""What Airflow does when a lake job has failed, for all DAGs here: the class of the error decides.

lake-submit ends with the exit code of the error's class (docs/errors.md). Spark's operator only learns that a driver has
FAILED; the class is then asked of the masters, with `lake-submit --status`.
"""
import datetime
import json
import logging
import os
import re
import subprocess
import urllib.request

from airflow.sdk import RetryDecision, RetryPolicy

log = logging.getLogger(__name__)

CODES = {"invalid-job": 2, "not-found": 3, "conflict": 4, "resource": 5, "unavailable": 6, "cancelled": 7,
         "data-quality": 8, "denied": 9, "internal": 70}
CLASSES = {code: name for name, code in CODES.items()}
# What passes by itself, and after how long it is worth another try. Everything else fails at once: a repeat would fail
# again, or somebody did not want it to go on.
DELAYS = {
    "conflict": datetime.timedelta(seconds=10),
    "unavailable": datetime.timedelta(seconds=30),
    "resource": datetime.timedelta(minutes=5),
}


def failure_of_driver(driver):
    """The class of the error that ended a driver; None when the masters do not say."""
    try:
        answer = subprocess.run(["lake-submit", "--output", "json", "--status", driver], capture_output=True, text=True,
                                check=True, timeout=60)
        status = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("the masters do not say why %s has ended: %s", driver, error)
        return None
    if status["failure"]:
        return status["failure"]["class"]
    return "cancelled" if status["state"] == "KILLED" else "internal"


def class_of(exception):
    """The class of a task's failure; None when it has none of ours."""
    text = str(exception)
    if code := re.search(r"(?:exit code|Error code is:) (\d+)", text):
        return CLASSES.get(int(code.group(1)))
    if driver := re.search(r"Driver (driver-[0-9-]+) exited with status", text):
        return failure_of_driver(driver.group(1))
    return None


class ByExitCode(RetryPolicy):
    """Conflicts, lost workers and exhausted resources are tried again, within the task's `retries`; nothing else is."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        name = class_of(exception)
        if name is None:
            return RetryDecision.default()
        if name in DELAYS:
            return RetryDecision.retry(DELAYS[name], f"{name}: it may pass")
        return RetryDecision.fail(f"{name}: another try would fail again")


def alert(context):
    """Tells an operator of exhausted resources, and of jobs that are not tried again: in the log, and at
    LAKE_ALERT_WEBHOOK where that is set."""
    task = context["task_instance"]
    name = class_of(context.get("exception"))
    text = f"{task.dag_id}.{task.task_id} of {context['run_id']}, try {task.try_number}: {name or 'failed'}"
    if name in DELAYS and name != "resource" and task.try_number <= task.max_tries:
        return
    log.error("alert: %s", text)
    if webhook := os.environ.get("LAKE_ALERT_WEBHOOK"):
        request = urllib.request.Request(webhook, json.dumps({"text": text}).encode(),
                                         {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            log.error("nobody was told at LAKE_ALERT_WEBHOOK: %s", error)


# For `default_args` of a DAG.
BY_EXIT_CODE = {
    "retries": 4,
    "retry_delay": datetime.timedelta(seconds=30),
    "retry_policy": ByExitCode(),
    "on_retry_callback": alert,
    "on_failure_callback": alert,
}
