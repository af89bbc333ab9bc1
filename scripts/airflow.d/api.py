"""Airflow's REST API, as far as the proofs need it. Whoever asks is an administrator."""
import json
import sys
import urllib.error
import urllib.request

from waiting import waiter

# A host with too much to do may take long for an answer.
PATIENCE_S = 180
ENDED = ["success", "failed", "up_for_retry", "upstream_failed", "skipped", "removed"]

wait_for = waiter(180, 0.3)


class Airflow:
    def __init__(self, address):
        self.address, self.token = f"http://{address}", None

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.address + path, json.dumps(body).encode() if body is not None else None,
                                         headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"Airflow refused {method} {path}: {error.code} {error.read().decode()[:500]}")

    def is_up(self):
        try:
            health = self.call("GET", "/api/v2/monitor/health")
            self.token = self.call("GET", "/auth/token")["access_token"]
        except OSError:
            return False
        return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))

    def dags(self):
        """Names of all DAGs that were read; ends the proof when one could not be."""
        if errors := self.call("GET", "/api/v2/importErrors")["import_errors"]:
            sys.exit("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
        return {dag["dag_id"] for dag in self.call("GET", "/api/v2/dags")["dags"]}

    def unpause(self, dag):
        self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def runs(self, dag):
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]

    def trigger(self, dag, run, day=None, conf=None):
        """Starts a run of its own name, of a day."""
        logical = f"{day}T00:00:00Z" if day else None
        self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": logical, "conf": conf or {}})

    def clear(self, dag, run):
        """All tasks of a run are to run again."""
        self.call("POST", f"/api/v2/dags/{dag}/clearTaskInstances",
                  {"dag_run_id": run, "dry_run": False, "only_failed": False})

    def fail(self, dag, run, task):
        """As when somebody marks a running task as failed on the page: it is killed."""
        self.call("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}", {"new_state": "failed"})

    def task(self, dag, run, task):
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}")

    def log(self, dag, run, task, attempt):
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true"
        return "\n".join(json.dumps(line) for line in self.call("GET", path)["content"])

    def wait_for_end(self, dag, run, seconds=240):
        """The state in which a run has ended."""
        def ended():
            state = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"]
            return state if state in ("success", "failed") else None
        return wait_for(f"the end of {run} of {dag}", ended, seconds)

    def wait_for_success(self, dag, run):
        if self.wait_for_end(dag, run) == "success":
            return
        for task in self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]:
            if task["state"] == "failed":
                print(self.log(dag, run, task["task_id"], task["try_number"]), file=sys.stderr)
        sys.exit(f"{run} of {dag} has failed")

    def wait_for_state(self, dag, run, task, attempt, *states, seconds=180):
        """Of one try of a task; a task that has ended otherwise ends the proof."""
        def reached():
            found = self.task(dag, run, task)
            if found["try_number"] == attempt and found["state"] in states:
                return found
            over = found["try_number"] > attempt or found["try_number"] == attempt and found["state"] in ENDED
            if over:
                sys.exit(f"{task} of {run} of {dag}: try {found['try_number']} is {found['state']}, expected try {attempt} "
                         f"to be {' or '.join(states)}\n{self.log(dag, run, task, found['try_number'])}")
            return None
        return wait_for(f"{task} of {run} of {dag} to be {' or '.join(states)}", reached, seconds)
