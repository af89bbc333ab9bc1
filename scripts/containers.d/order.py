"""The proofs in their order: each goes on where the one before it has left the stack."""
import os

from drive import drive_from_airflow, watch
from proofs import (build_images, come_up, cut_off_the_leader, keep_data, kill_a_worker, kill_the_leader, restart_one_by_one,
                    run_the_shop, scale)
from refusals import refuse_bad_settings, refuse_bad_stores

ALL = [build_images, refuse_bad_settings, come_up, refuse_bad_stores, run_the_shop, kill_the_leader, kill_a_worker,
       cut_off_the_leader, scale, restart_one_by_one, watch, drive_from_airflow, keep_data]
# What every change is tried on.
QUICK = [build_images, come_up, kill_the_leader, kill_a_worker]
# For one who looks into one of them: come_up is needed by all that follow it.
if only := os.environ.get("LAKE_PROOFS"):
    ALL = [proof for proof in ALL if proof.__name__ in only.split(",")]
