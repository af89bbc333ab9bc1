"""What must hold of the stack in containers (order.py has the order)."""
import decimal
import json
import re
import subprocess
import time

import bases
from stack import MASTERS, PROJECT, expect, run, wait_for

CUSTOMERS = "/jobs/customers/job.toml"
# The same answer in PostgreSQL, of the rows that the job reads: an oracle that shares nothing with us.
CUSTOMERS_BY_COUNTRY = """
    SELECT coalesce(nullif(upper(trim(country)), ''), 'unknown') AS country, count(*), sum(coalesce(credit_limit, 0))
    FROM (SELECT DISTINCT ON (customer_id) * FROM customers ORDER BY customer_id, updated_at DESC, row_id DESC) AS latest
    WHERE lower(trim(email)) LIKE '%_@_%'
    GROUP BY 1
"""
# What the runtime image may be, with its programs stripped, as scripts/image always has them.
IMAGE_LIMIT_MB = 250
# Steps one after another, each a join of some millions of pairs: long enough for something to happen in the middle.
STEPS = 8
LONG_JOB = """
[job]
name = "pairs"
[warehouse]
root = "s3://lakehouse/pairs"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }
[[source]]
name = "crm_usage"
connection = "crm"
table = "public.usage"
partition_by = "usage_id"
partitions = 4
[[table]]
name = "bronze.usage"
from = "crm_usage"
mode = "overwrite"
"""
LONG_STEP = """
[[table]]
name = "gold.pairs_{number}"
mode = "overwrite"
sql = '''
SELECT a.customer_id % 100 AS bucket, count(*) AS pairs, sum(a.megabytes + b.megabytes) AS megabytes
FROM bronze.usage AS a
JOIN bronze.usage AS b ON a.customer_id % 50 = b.customer_id % 50
{after}
GROUP BY a.customer_id % 100
'''
"""
PAIRS = """
    SELECT u.customer_id % 100, sum(k.rows), sum(u.megabytes * k.rows + k.megabytes)
    FROM usage AS u
    JOIN (SELECT customer_id % 50 AS key, count(*) AS rows, sum(megabytes) AS megabytes FROM usage GROUP BY 1) AS k
      ON k.key = u.customer_id % 50
    GROUP BY 1
"""


def build_images(stack):
    """Images are built, of Debian's packages and the programs of this host"""
    begun = time.monotonic()
    bases.make(stack.environment)
    made = time.monotonic() - begun
    answer = stack.script("image", stack.programs)
    for program in ("lake-master", "lake-worker", "lake-submit", "spark-submit"):
        run("docker", "run", "--rm", "--read-only", "--network", "none", stack.environment["LAKE_IMAGE"], program, "--version")
    for name in ("master", "worker", "submit"):
        run("docker", "run", "--rm", "--read-only", "--network", "none", stack.environment["LAKE_IMAGE"], "lake", name, "--version")
    who = run("docker", "run", "--rm", stack.environment["LAKE_IMAGE"], "id", "-u").stdout.strip()
    expect("user of the image", who, "10001")
    bill = run("docker", "run", "--rm", stack.environment["LAKE_IMAGE"], "cat", "/usr/share/doc/lake/sbom.spdx.json").stdout
    packages = {package["name"] for package in json.loads(bill)["packages"]}
    if not {"lake", "lake-master", "lake-worker", "lake-client", "datafusion", "deltalake-core", "tokio"} <= packages:
        raise SystemExit(f"the bill of materials lacks programs or their largest parts: it has {len(packages)} packages")
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", stack.environment["LAKE_IMAGE"]).stdout) / 1e6
    if size > IMAGE_LIMIT_MB:
        raise SystemExit(f"the runtime image has {size:.0f} MB: expected at most {IMAGE_LIMIT_MB} MB\n{answer.stdout}")
    return [f"bases {made:.0f} s", *answer.stdout.splitlines()[:-1]]


def come_up(stack):
    """One command brings up the core, and the customers job runs from the submitter to FINISHED"""
    begun = time.monotonic()
    stack.script("up", "--workers", "2")
    up = time.monotonic() - begun
    idle = memory(stack)
    stack.submit(CUSTOMERS)
    yield f"cold `up` {up:.1f} s, first job FINISHED after {time.monotonic() - begun:.1f} s"
    yield f"idle memory of the core: {sum(idle.values()):.0f} MiB, of it masters and workers " \
          f"{sum(size for name, size in idle.items() if 'master' in name or 'worker' in name):.0f} MiB"
    check_customers(stack)


def memory(stack):
    """MiB of each container."""
    factors = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}
    names = run("docker", "ps", "--format", "{{.Names}}", "--filter", f"label=com.docker.compose.project={PROJECT}")
    lines = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names.stdout.split()).stdout
    found = {}
    for line in lines.splitlines():
        name, used = line.split()[:2]
        number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", used).groups()
        found[name] = float(number) * factors[unit]
    return found


def check_customers(stack):
    rows, version = stack.table("s3://lakehouse/gold/customers_by_country")
    found = sorted((row["country"], str(row["customers"]), row["credit_limit"]) for row in rows.to_pylist())
    expected = [(country, count, decimal.Decimal(limit)) for country, count, limit in stack.psql(CUSTOMERS_BY_COUNTRY)]
    expect("gold.customers_by_country", found, expected)
    return version


def run_the_shop(stack):
    """A day that is run again gives the same table again, in its own bucket"""
    tables = []
    for _ in range(2):
        stack.submit("--param", "ds=2026-09-01", "/jobs/shop/job.toml")
        tables.append(stack.table("s3://gold/daily_sales"))
    stack.submit("--param", "ds=2026-09-02", "/jobs/shop/job.toml")
    both, _ = stack.table("s3://gold/daily_sales")
    (first, version), (again, later) = [(sorted(map(str, rows.to_pylist())), version) for rows, version in tables]
    expect("the day's rows after it was run again", again, first)
    days = {str(row["ordered_on"]) for row in both.to_pylist()}
    expect("days after another one was run", days, {"2026-09-01", "2026-09-02"})
    return [f"{len(first)} rows, versions {version} and {later}"]


def write_long_job(stack):
    after = "CROSS JOIN (SELECT count(*) AS rows FROM gold.pairs_{}) AS before"
    steps = [LONG_STEP.format(number=number, after=after.format(number - 1) if number > 1 else "")
             for number in range(1, STEPS + 1)]
    # The container's root is read-only: through its standard input into the one place that is not.
    command = ["docker", "exec", "-i", stack.container("submitter"), "sh", "-c", "cat >/tmp/pairs.toml"]
    subprocess.run(command, input=LONG_JOB + "".join(steps), text=True, check=True)


def start_long_job(stack):
    write_long_job(stack)
    job = stack.start_job("/tmp/pairs.toml", "--conf", "warehouse.root=s3://lakehouse/pairs")
    job.wait_until_in_the_middle()
    return job


def check_pairs(stack):
    expected = stack.psql(PAIRS)
    for number in range(1, STEPS + 1):
        rows, _ = stack.table(f"s3://lakehouse/pairs/gold/pairs_{number}")
        found = sorted(tuple(str(value) for value in row.values()) for row in rows.to_pylist())
        expect(f"gold.pairs_{number}", found, expected)


def kill_the_leader(stack):
    """The leading master's container is killed in mid-job: the job is FINISHED, its rows are right"""
    job = start_long_job(stack)
    service, container = stack.wait_for_leader()
    run("docker", "kill", container)
    begun = time.monotonic()
    others = [other for other in MASTERS if other != service]
    successor, _ = stack.wait_for_leader(others)
    led = time.monotonic() - begun
    status = job.finish()
    check_pairs(stack)
    run("docker", "start", container)
    stack.wait_until_ready(container)
    return [f"{service} was killed, {successor} leads after {led:.1f} s; {took(status)}"]


def kill_a_worker(stack):
    """The container of the worker that has the driver is killed in mid-job: FINISHED, rows right"""
    job = start_long_job(stack)
    name = stack.status(job.id)["worker_address"].partition(":")[0]
    victim = next(container for container in stack.containers("worker") if container.startswith(name))
    run("docker", "kill", victim)
    status = job.finish()
    check_pairs(stack)
    if status["attempt"] < 2:
        raise SystemExit(f"the driver of the killed worker was not started again: attempt {status['attempt']}")
    run("docker", "start", victim)
    stack.wait_for_workers(2)
    return [f"attempt {status['attempt']}, {took(status)}"]


def took(status):
    return f"{(status['ended_at_ms'] - status['submitted_at_ms']) / 1000:.1f} s from submission to end"


def cut_off_the_leader(stack):
    """The leading master is cut off its network in mid-job, and healed: FINISHED, rows right, a group of three again"""
    job = start_long_job(stack)
    service, container = stack.wait_for_leader()
    network = f"{PROJECT}_default"
    run("docker", "network", "disconnect", network, container)
    others = [other for other in MASTERS if other != service]
    successor, _ = stack.wait_for_leader(others)
    wait_for(f"{service} to see that it is alone", lambda: not stack.ready(container))
    status = job.finish()
    check_pairs(stack)
    run("docker", "network", "connect", "--alias", service, "--alias", "master", network, container)
    wait_for(f"{service} to follow", lambda: stack.ready(container) in ("follower", "leader"))
    members = run("docker", "exec", container, "lake-master", "members", "list", "--master", "lake://master:7077").stdout
    expect("masters in the group", len(re.findall(r"master-[123]:7077", members)), 3)
    return [f"{service} was cut off, {successor} led; {took(status)}"]


def scale(stack):
    """Four workers instead of two"""
    stack.script("up", "--workers", "4")
    stack.wait_for_workers(4)
    stack.submit(CUSTOMERS)
    check_customers(stack)


def restart_one_by_one(stack):
    """Masters and workers are restarted one after the other while a job runs: one attempt, rows right"""
    job = start_long_job(stack)
    for service in MASTERS:
        container = stack.container(service)
        run("docker", "restart", "--time", "30", container)
        stack.wait_until_ready(container)
    for container in stack.containers("worker"):
        run("docker", "stop", "--time", "90", container)
        run("docker", "start", container)
        stack.wait_until_ready(container)
    status = job.finish()
    check_pairs(stack)
    expect("attempts of the driver", status["attempt"], 1)
    return [took(status)]


def keep_data(stack):
    """`down` and `up` keep tables, PostgreSQL and what the masters have accepted; `deploy` again is harmless"""
    before = check_customers(stack)
    runs = stack.submit("--output", "json", "--list").stdout
    drivers = set(re.findall(r"driver-[0-9-]+", runs))
    stack.script("down")
    expect("containers after down", stack.containers("master-1", everything=True), [])
    stack.script("up")
    expect("version of the gold table after down and up", check_customers(stack), before)
    kept = set(re.findall(r"driver-[0-9-]+", stack.submit("--output", "json", "--list").stdout))
    if not drivers or not drivers <= kept:
        raise SystemExit(f"the masters have forgotten {sorted(drivers - kept)}")
    answer = stack.script("deploy")
    if "| DE " not in answer.stdout:
        raise SystemExit(f"deploy did not show the gold table: {answer.stdout}")
    expect("version of the gold table after deploy", check_customers(stack), before + 1)
    stack.script("clean")
    left = run("docker", "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}").stdout
    expect("volumes after clean", left, "")
    return [f"{len(drivers)} runs known"]
