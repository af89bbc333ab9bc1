"""What must hold of Airflow's DAGs, on a `platform`: local processes (local.py) or containers (containers.d/drive.py).

A platform has `airflow`, `hold(table)`, `drivers(job)`, `state(driver)`, `sql(query)`, `table(path)`, `crash(task)`.
"""
import decimal
import sys

from api import wait_for

DAGS = ["lake_submit", "spark_submit"]
DAY = "2026-09-01"
# The day in PostgreSQL, of the rows that the job reads: an oracle that shares nothing with us.
SALES = f"""
    SELECT count(*), sum(quantity), sum(quantity * list_price)
    FROM (SELECT DISTINCT ON (order_id) * FROM orders WHERE ordered_on = DATE '{DAY}'
          ORDER BY order_id, updated_at DESC, row_id DESC) AS latest
    JOIN products USING (product_id)
    WHERE quantity > 0
"""


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: expected {expected}, found {found}")


def days_rows(platform):
    """Rows of the day in the gold table, as texts, after they were compared with PostgreSQL's; and the table's version."""
    rows, version = platform.table("s3://gold/daily_sales")
    rows = [row for row in rows.to_pylist() if str(row["ordered_on"]) == DAY]
    found = [sum(row[column] for row in rows) for column in ("orders", "pieces", "revenue")]
    expect("orders, pieces and revenue of the day", found, [decimal.Decimal(value) for value in platform.sql(SALES)])
    return sorted(map(str, rows)), version


def succeed_at_once(airflow, dag, run):
    """No task of a run needs a second try, which would hide what is wrong with the first."""
    airflow.wait_for_success(dag, run)
    for task in "customers", "shop":
        tries = airflow.task(dag, run, task)["try_number"]
        if tries > 1:
            sys.exit(f"{task} of {run} of {dag} needed {tries} tries\n{airflow.log(dag, run, task, 1)}")


def run_both(platform):
    """Both DAGs run: the one that is due when they are enabled, then one of a day; its rows are right"""
    airflow = platform.airflow
    for dag in DAGS:
        airflow.unpause(dag)
    for dag in DAGS:
        due = wait_for(f"the run of {dag} that is due", lambda dag=dag: airflow.runs(dag))[0]
        succeed_at_once(airflow, dag, due["dag_run_id"])
    for dag in DAGS:
        airflow.trigger(dag, "day", DAY)
        succeed_at_once(airflow, dag, "day")
        days_rows(platform)
    log = airflow.log("spark_submit", "day", "shop", 1)
    for words in "identified spark driver id: driver-", f"ds={DAY}":
        if words not in log:
            sys.exit(f"the log of Spark's operator has no '{words}':\n{log}")


def run_again(platform):
    """A run of a day that is cleared runs again, and gives the same rows again"""
    rows, version = days_rows(platform)
    for dag in DAGS:
        platform.airflow.clear(dag, "day")
    for dag in DAGS:
        platform.airflow.wait_for_success(dag, "day")
    again, later = days_rows(platform)
    expect("the day's rows after it was run again", again, rows)
    if later < version + 2:
        sys.exit(f"the table has version {later} after {version}: expected a commit by each of the two DAGs")
    return [f"versions {version} and {later}, {len(rows)} rows of the day"]


def start_and_hold(platform, run, day):
    """A run of each DAG, that of Spark's operator first. Its driver runs and waits for a table that is locked; the other
    driver waits for the end of that run, which is an earlier one of the same job. Gives the drivers."""
    found = {}
    for dag in reversed(DAGS):
        before = set(platform.drivers("customers"))
        platform.airflow.trigger(dag, run, day)
        platform.airflow.wait_for_state(dag, run, "customers", 1, "running")
        driver, = wait_for(f"the driver of {dag}", lambda before=before: set(platform.drivers("customers")) - before)
        found[dag] = driver
    first = found[DAGS[-1]]
    wait_for(f"{first} to run", lambda: platform.state(first) == "RUNNING")
    return found


def kill(platform):
    """A task that is killed in Airflow kills its driver"""
    with platform.hold("usage"):
        drivers = start_and_hold(platform, "killed", "2026-09-02")
        for dag in DAGS:
            platform.airflow.fail(dag, "killed", "customers")
        for driver in drivers.values():
            wait_for(f"{driver} to be killed", lambda driver=driver: platform.state(driver) == "KILLED", 60)
    for dag in DAGS:
        expect(f"the run of {dag}", platform.airflow.wait_for_end(dag, "killed"), "failed")


def crash(platform):
    """Airflow's worker crashes while drivers run: the next try goes on with the driver that there is"""
    airflow = platform.airflow
    with platform.hold("usage"):
        drivers = start_and_hold(platform, "crashed", "2026-09-03")
        known = set(platform.drivers("customers"))
        platform.crash([airflow.task(dag, "crashed", "customers") for dag in DAGS])
        for dag in DAGS:
            airflow.wait_for_state(dag, "crashed", "customers", 2, "running", seconds=300)
        wait_for("Spark's operator to go on with the driver",
                 lambda: "Reconnecting to existing job" in airflow.log("spark_submit", "crashed", "customers", 2))
        for driver in drivers.values():
            if platform.state(driver) not in ("SUBMITTED", "RUNNING"):
                sys.exit(f"{driver} is {platform.state(driver)}, expected it to go on")
    for dag in DAGS:
        airflow.wait_for_success(dag, "crashed")
        expect(f"state of the first driver of {dag}", platform.state(drivers[dag]), "FINISHED")
    expect("drivers after the crash", set(platform.drivers("customers")), known)


ANYWHERE = [run_both, run_again, kill, crash]
