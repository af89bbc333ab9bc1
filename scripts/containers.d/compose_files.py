"""The files of Compose against the Compose specification's schema, offline, as Compose v2 reads them; and read by the Compose
that is here, if one is."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PROFILES = "airflow,monitoring,grafana"
# What local overrides is in the other one.
FILES = [["compose.yaml"], ["compose.yaml", "compose.local.yaml"]]


def check(folder):
    checker = pathlib.Path(sys.prefix) / "bin" / "check-jsonschema"
    files = sorted({folder / name for names in FILES for name in names})
    answer = against_schema(checker, *files)
    if answer.returncode != 0:
        sys.exit(f"{answer.stdout}{answer.stderr}")
    # A checker that takes everything would not be seen otherwise.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as wrong:
        wrong.write("services: {s3: {image: s3, depend_on: [postgres]}}\n")
        wrong.flush()
        if against_schema(checker, wrong.name).returncode == 0:
            sys.exit("the checker of Compose files takes a key that Compose does not have")
    print(f"== {len(files)} Compose files fit the schema of the specification", flush=True)
    for command in commands():
        services = [read_by(command, folder, names) for names in FILES]
        print(f"== {' '.join(command)} reads them: {' and '.join(map(str, services))} services", flush=True)


def against_schema(checker, *files):
    return subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", *files], capture_output=True, text=True)


def commands():
    """Compose v2 and the one of before, as far as they are here."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        yield ["docker", "compose"]
    if shutil.which("docker-compose"):
        yield ["docker-compose"]


def read_by(command, folder, names):
    """The number of services, all profiles included."""
    files = [word for name in names for word in ("-f", folder / name)]
    answer = subprocess.run([*command, "--project-directory", folder, "--env-file", folder / ".env", *files, "config", "--services"],
                            capture_output=True, text=True, env={**os.environ, "COMPOSE_PROFILES": PROFILES})
    if answer.returncode != 0:
        sys.exit(f"{' '.join(command)} does not take {' and '.join(names)}:\n{answer.stderr}")
    return len(answer.stdout.split())
