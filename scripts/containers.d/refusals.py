"""Bad input: what is missing or wrong is told by name, with the exit code of its class, at once or in bounded time."""
import socket
import time

from proofs import CUSTOMERS, check_customers
from stack import PROJECT, run


def refuse_bad_settings(stack):
    """A setting that is missing or wrong ends a container at once, with its name and an example"""
    image = stack.environment["LAKE_IMAGE"]
    cases = [
        (2, "LAKE_MASTER=lake://", ["lake-worker"], []),
        (2, "LAKE_MASTER=lake://", ["lake", "worker"], []),
        (2, "LAKE_WORKER_MEMORY=8g", ["lake-worker"], ["LAKE_MASTER=lake://m:1", "LAKE_WORKER_MEMORY=lots"]),
        (5, "LAKE_WORKER_MEMORY=", ["lake-worker"], ["LAKE_MASTER=lake://m:1", "LAKE_WORKER_MEMORY=1000t"]),
        # The root is read-only, and no volume is mounted.
        (5, "LAKE_WORKER_DIR", ["lake-worker"], ["LAKE_MASTER=lake://m:1"]),
        (5, "LAKE_MASTER_DATA_DIR", ["lake-master"], []),
        (2, "LAKE_MASTER_ID=1", ["lake-master"], ["LAKE_MASTER_PEERS=1@a:1,2@b:1,3@c:1"]),
        (2, "LAKE_MASTER_PEERS=1@", ["lake-master"], ["LAKE_MASTER_PEERS=1@a:1", "LAKE_MASTER_ID=4"]),
        (2, "LAKE_MASTER_WEBUI_PORT=8080", ["lake-master"], ["LAKE_MASTER_WEBUI_PORT=http"]),
        (2, "LAKE_MASTER_REST_PORT=6066", ["lake-master"], ["LAKE_MASTER_REST_PORT=66066"]),
        (2, "CRM_URL_FILE=/run", ["lake-submit", "--list"], ["CRM_URL_FILE=/none"]),
    ]
    for code, words, command, settings in cases:
        options = [word for setting in settings for word in ("--env", setting)]
        answer = run("docker", "run", "--rm", "--read-only", *options, image, *command, check=False)
        if answer.returncode != code or words not in answer.stderr:
            raise SystemExit(f"{command} {settings}: expected {code} and '{words}', "
                             f"found {answer.returncode}: {answer.stderr}")
    # A folder of root's in the place of a volume.
    folder = stack.scratch / "of-root"
    folder.mkdir(mode=0o755)
    answer = run("docker", "run", "--rm", "--read-only", "--volume", f"{folder}:/var/lib/lake/master", image, "lake-master",
                 check=False)
    if answer.returncode != 5 or "LAKE_MASTER_DATA_DIR" not in answer.stderr:
        raise SystemExit(f"a volume that cannot be written: found {answer.returncode}: {answer.stderr}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        of_up = [("S3_SECRET_KEY", "", "S3_SECRET_KEY is not set"), ("LAKE_UI_PORT", "http", "LAKE_UI_PORT is 'http'"),
                 ("S3_PORT", str(port), f"port {port} of 127.0.0.1 is in use"),
                 ("LAKE_WORKER_MEMORY_LIMIT", "9000g", "take fewer workers")]
        for variable, value, words in of_up:
            answer = stack.script("up", check=False, **{variable: value})
            if answer.returncode == 0 or words not in answer.stderr:
                raise SystemExit(f"up with {variable}={value}: expected '{words}', found {answer.returncode}: {answer.stderr}")
    return [f"{len(cases) + len(of_up) + 1} refused"]


def refuse_bad_stores(stack):
    """Wrong keys, missing buckets, and services that are away end jobs with the exit code of the class, in bounded time"""
    submitter = stack.container("submitter")

    def ends(what, expected, words, *command):
        begun = time.monotonic()
        answer = run(*command, check=False)
        if answer.returncode != expected or words not in answer.stdout + answer.stderr:
            raise SystemExit(f"{what}: expected {expected} and '{words}', found {answer.returncode}: {answer.stderr}")
        return f"{what}: exit code {expected} after {time.monotonic() - begun:.1f} s"

    def buckets(*settings):
        options = [word for setting in ["AWS_ACCESS_KEY_ID=lake-local", *settings] for word in ("--env", setting)]
        return ["docker", "run", "--rm", "--network", f"{PROJECT}_default", *options, "lake-test/tools"]

    here = ["docker", "exec", "--env", "AWS_SECRET_ACCESS_KEY=wrong", submitter, "lake-submit", "--deploy-mode", "local"]
    there = ["docker", "exec", submitter, "lake-submit"]
    yield ends("a job that is not valid", 2, "none", *there, "--param", "none=1", CUSTOMERS)
    yield ends("a job with a wrong key", 9, "error[denied", *here, CUSTOMERS)
    yield ends("a job with a missing bucket", 3, "nowhere", *there, "--conf", "warehouse.root=s3://nowhere/x", CUSTOMERS)
    yield ends("make-buckets with a wrong key", 9, "AWS_SECRET_ACCESS_KEY",
               *buckets("AWS_ENDPOINT=http://s3:9000", "AWS_SECRET_ACCESS_KEY=wrong", "S3_BUCKETS=gold"))
    yield ends("make-buckets with a wrong name", 3, "S3_BUCKETS",
               *buckets("AWS_ENDPOINT=http://s3:9000", "AWS_SECRET_ACCESS_KEY=lake-local-secret", "S3_BUCKETS=a/b/c"))
    yield ends("make-buckets without a store", 6, "AWS_ENDPOINT",
               *buckets("AWS_ENDPOINT=http://s3:1", "AWS_SECRET_ACCESS_KEY=lake-local-secret", "S3_BUCKETS=gold"))
    run("docker", "stop", stack.container("postgres"))
    yield ends("a job without PostgreSQL", 6, "error[unavailable", *there, CUSTOMERS)
    # It waits until PostgreSQL is healthy again.
    stack.script("up", "--workers", "2")
    check_customers(stack)
