"""The Kubernetes manifests against the API's published schemas, offline."""
import sys

import kubernetes_validate
import yaml

# The oldest version with what the manifests use, and the newest that the checker knows.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]


def check(folder):
    checked = 0
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            # Kustomize's own file is none of the API's objects.
            if document["kind"] == "Kustomization":
                missing = [name for name in document["resources"] if not (folder / name).exists()]
                if missing:
                    sys.exit(f"{file} names {', '.join(missing)}, which is not there")
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    sys.exit(f"{file}: {document['kind']} {document['metadata']['name']}: {error}")
            checked += 1
    if checked < 10:
        sys.exit(f"{folder} has {checked} objects: expected at least 10")
    print(f"== {checked} Kubernetes objects fit the schemas of {' and '.join(VERSIONS)}", flush=True)
