# The programs and their bill of materials, as scripts/image has laid them out: usr/local/bin and usr/share/doc/lake.
FROM scratch
COPY . /
