# The programs and their bill of materials, as scripts/image has laid them out: bin/ and sbom.spdx.json.
FROM scratch
COPY . /
