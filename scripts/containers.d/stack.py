"""The stack under test: the project's own scripts on a project of its own, and what is seen of its containers."""
import json
import os
import pathlib
import subprocess
import sys
import uuid

from waiting import waiter

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROJECT = "lake-test"
IMAGES = ["lake-test/airflow", "lake-test/lake", "lake-test/lake-binaries", "lake-test/tools"]
PORTS = ["LAKE_UI_PORT", "LAKE_UI_PORT_2", "LAKE_UI_PORT_3", "LAKE_PORT", "LAKE_REST_PORT", "LAKE_WORKER_UI_PORTS", "S3_PORT",
         "CRM_PUBLISHED_PORT", "AIRFLOW_PORT", "PROMETHEUS_PORT"]
MASTERS = ["master-1", "master-2", "master-3"]

wait_for = waiter(60, 0.2)


def run(*command, check=True, **options):
    answer = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if check and answer.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
    return answer


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: expected {expected}, found {found}")


class Stack:
    def __init__(self, programs, scratch):
        self.programs, self.scratch = programs, scratch
        # Any free ports, so that a stack of the user's is not in the way; small workers, so that four fit a small host.
        self.environment = {
            **os.environ, "COMPOSE_PROJECT_NAME": PROJECT, "LAKE_STACK_IMAGES": "local", "LAKE_BIN": str(programs),
            "LAKE_IMAGE": "lake-test/lake", "LAKE_TOOLS_IMAGE": "lake-test/tools", "LAKE_AIRFLOW_IMAGE": "lake-test/airflow",
            **dict.fromkeys(PORTS, "0"), "LAKE_WORKER_CORES": "1", "LAKE_WORKER_MEMORY": "1g",
            "LAKE_WORKER_MEMORY_LIMIT": "2g", "LAKE_WORKER_DRAIN_TIMEOUT": "80s",
        }

    def script(self, name, *arguments, check=True, **environment):
        return run(ROOT / "scripts" / name, *arguments, check=check, env={**self.environment, **environment},
                   stdin=subprocess.DEVNULL)

    # ------------------------------------------------------------ containers

    def containers(self, service, everything=False):
        """Ids of a service's containers that run, or of all of them, the oldest last."""
        options = ["--all"] if everything else []
        return run("docker", "ps", "--quiet", "--no-trunc", *options,
                   "--filter", f"label=com.docker.compose.project={PROJECT}",
                   "--filter", f"label=com.docker.compose.service={service}").stdout.split()

    def container(self, service):
        found = self.containers(service)
        expect(f"containers of {service}", len(found), 1)
        return found[0]

    def ready(self, container):
        """What a daemon says of itself; empty when it is not ready."""
        answer = run("docker", "exec", container, "lake-health", check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    def leader(self, among=MASTERS):
        for service in among:
            for container in self.containers(service):
                if self.ready(container) == "leader":
                    return service, container
        return None

    def wait_for_leader(self, among=MASTERS):
        return wait_for(f"a leader among {', '.join(among)}", lambda: self.leader(among))

    def wait_until_ready(self, container):
        return wait_for(f"container {container[:12]} to be ready", lambda: self.ready(container))

    def alive_workers(self):
        lines = self.submit("--list").stdout.splitlines()
        return {line.split()[0] for line in lines if line.startswith("worker-") and " ALIVE " in line}

    def wait_for_workers(self, number):
        wait_for(f"{number} workers", lambda: len(self.alive_workers()) == number)

    def address(self, service, port):
        answer = run("docker", "port", self.container(service), f"{port}/tcp").stdout.splitlines()[0]
        return "127.0.0.1:" + answer.rpartition(":")[2]

    # ------------------------------------------------------------ jobs

    def submit(self, *arguments, check=True):
        """lake-submit in the submitter's container."""
        return run("docker", "exec", self.container("submitter"), "lake-submit", *arguments, check=check)

    def status(self, submission):
        answer = self.submit("--output", "json", "--status", submission, check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def start_job(self, *arguments):
        """A job that is followed while something else happens to the cluster."""
        return Job(self, arguments)

    def psql(self, query):
        answer = run("docker", "exec", self.container("postgres"), "psql", "-U", "lake", "-d", "crm", "-AtF", "|",
                     "-c", query)
        return sorted(tuple(line.split("|")) for line in answer.stdout.splitlines())

    def table(self, path):
        """Rows of a Delta table, read from outside by a program that is not ours, as texts; and its version."""
        from deltalake import DeltaTable

        options = {"AWS_ENDPOINT_URL": f"http://{self.address('s3', 9000)}", "AWS_REGION": "us-east-1",
                   "AWS_ACCESS_KEY_ID": "lake-local", "AWS_SECRET_ACCESS_KEY": "lake-local-secret",
                   "AWS_ALLOW_HTTP": "true"}
        table = DeltaTable(path, storage_options=options)
        return table.to_pyarrow_table(), table.version()

    # ------------------------------------------------------------ the end

    def remove(self):
        """Containers, networks, volumes and images of the test, whatever state they are in."""
        of_test = ["--filter", f"label=com.docker.compose.project={PROJECT}"]
        if containers := run("docker", "ps", "--all", "--quiet", *of_test).stdout.split():
            run("docker", "rm", "--force", "--volumes", *containers, check=False)
        for kind in ("network", "volume"):
            if names := run("docker", kind, "ls", "--quiet", *of_test).stdout.split():
                run("docker", kind, "rm", *names, check=False)
        for image in IMAGES:
            run("docker", "image", "rm", "--force", image, check=False)

    def complain(self):
        """The last lines of every container, before they go."""
        names = run("docker", "ps", "--all", "--format", "{{.Names}}\t{{.Status}}",
                    "--filter", f"label=com.docker.compose.project={PROJECT}").stdout.splitlines()
        for line in names:
            name, _, state = line.partition("\t")
            tail = run("docker", "logs", "--tail", "15", name, check=False)
            print(f"-- {name} ({state})\n{tail.stdout}{tail.stderr}", file=sys.stderr, flush=True)


class Job:
    """A submission, followed by a client of its own."""

    def __init__(self, stack, arguments):
        self.stack, self.id = stack, str(uuid.uuid4())
        command = ["docker", "exec", stack.container("submitter"), "lake-submit", "--submission-id", self.id, *arguments]
        self.log = open(stack.scratch / f"{self.id}.log", "w+")
        self.client = subprocess.Popen(command, stdout=self.log, stderr=self.log, text=True)

    def committed(self):
        status = self.stack.status(self.id)
        if status and status["state"] in ("FINISHED", "FAILED", "KILLED", "ERROR"):
            sys.exit(f"the job was {status['state']} before anything happened to it: {status['failure']}")
        return [step for step in status["steps"] if step["outcome"] == "COMMITTED"] if status else []

    def wait_until_in_the_middle(self):
        """At least one step is committed, and others are not."""
        wait_for("a step to be committed", self.committed)

    def finish(self, seconds=180):
        """Its client ended well; how the run ended."""
        try:
            code = self.client.wait(seconds)
        except subprocess.TimeoutExpired:
            self.client.kill()
            code = "no end"
        self.log.seek(0)
        if code != 0:
            sys.exit(f"the job's client ended with {code} after {seconds} s at most:\n{self.log.read()}")
        status = self.stack.status(self.id)
        expect("state of the job", status["state"], "FINISHED")
        return status
