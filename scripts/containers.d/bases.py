"""Base images take minutes to make: they are kept as a file, from which an engine that does not have them gets them back in
seconds."""
import hashlib
import os
import pathlib

from stack import ROOT, run

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lake"
# What these images are made of; the S3 server's is made of a program of this build, in seconds.
RECIPES = ["build", "postgres.Dockerfile", "postgres-entrypoint"]
KEPT = ["debian:bookworm-slim", "lake-local/postgres:latest"]


def has(image):
    return run("docker", "image", "inspect", image, check=False).returncode == 0


def make(environment):
    recipe = hashlib.sha256(b"".join((ROOT / "docker/base" / name).read_bytes() for name in RECIPES)).hexdigest()[:16]
    archive = CACHE / f"containers-bases-{recipe}.tar"
    if not all(map(has, KEPT)) and archive.exists():
        run("docker", "load", "--input", archive)
    run(ROOT / "docker/base/build", env=environment)
    if not archive.exists():
        for older in CACHE.glob("containers-bases-*.tar"):
            older.unlink()
        unfinished = archive.with_suffix(".unfinished")
        run("docker", "save", "--output", unfinished, *KEPT)
        unfinished.rename(archive)
