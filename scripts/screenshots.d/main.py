"""Pictures of every page of a small cluster; scripts/screenshots runs it."""
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/src/browser")]

import places  # noqa: E402 (found by the line above)
from processes import BIN, Cluster, Point  # noqa: E402
from visitor import PHONE, Visitor  # noqa: E402

LOOKS = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}, "phone": {"color_scheme": "light", **PHONE}}
RETAIL = ROOT / "examples/retail/job.toml"
FAILING = """
[job]
name = "invoices"

[warehouse]
root = "warehouse"

[[source]]
name = "orders"
kind = "files"
format = "csv"
path = "{orders}"

[[table]]
name = "bronze.invoices"
from = "orders"
mode = "append"

[[table]]
name = "silver.invoices"
mode = "overwrite"
sql = "SELECT order_id, coalesce(customer_id, '') AS customer_id FROM bronze.invoices"

  [[table.expect]]
  name = "has_customer"
  check = "customer_id <> ''"
  action = "fail"

[[table]]
name = "gold.invoices_by_customer"
mode = "overwrite"
sql = "SELECT customer_id, count(*) AS invoices FROM silver.invoices GROUP BY customer_id"
"""


def main():
    folder = pathlib.Path(sys.argv[1])
    if not (BIN / "lake-master").exists():
        sys.exit(f"no programs in {BIN}: scripts/test or scripts/build makes them")
    with tempfile.TemporaryDirectory(prefix="lake-screenshots-") as work:
        shown(pathlib.Path(work), folder)


def shown(work, folder):
    # The third run of the example is held where one of its tasks has all its rows.
    point = Point(work / "points", "task-before-close", "sleep-600000", is_armed=False)
    with Cluster(work / "cluster", memory="2g", environment=point.environment) as cluster:
        retail = ["--conf", f"warehouse.root={work / 'warehouse'}"]
        for _ in range(2):
            ended = cluster.detached(RETAIL, *retail)
            cluster.ended(ended)
        failing = work / "invoices.toml"
        failing.write_text(FAILING.format(orders=ROOT / "examples/retail/data/orders"))
        failed = cluster.detached(failing)
        if cluster.ended(failed)["state"] != "FAILED":
            sys.exit("the job that was to fail has not")
        point.arm()
        running = cluster.detached(RETAIL, *retail)
        while not point.fired():
            time.sleep(0.05)
        ids = [cluster.status(driver)["app_id"] for driver in (ended, failed, running)]
        try:
            write(f"http://{cluster.http}", *ids, folder)
        finally:
            cluster.cancel(running)
            cluster.ended(running)
            # The task that is held would hold its worker's end up.
            for worker in cluster.workers:
                worker.kill()


def write(master, ended, failed, running, folder):
    with Visitor() as visitor:
        finder = visitor.window()
        page = finder.context.new_page()
        found = places.of(page, master, ended)
        found["failed application"] = f"{master}/applications/{failed}"
        found["running application"] = f"{master}/applications/{running}"
        found["running query"] = places.linked(page, found["running application"], "#steps .stage a")
        found["unknown page"] = f"{master}/no-such-page"
        for look, options in LOOKS.items():
            window = visitor.window(**options)
            page = window.context.new_page()
            for name, url in found.items():
                page.goto(url)
                page.screenshot(path=folder / f"{name.replace(' ', '-')}.{look}.png", full_page=True)
    print(f"{len(found) * len(LOOKS)} pictures in {folder}")


main()
