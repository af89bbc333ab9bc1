# Airflow on Debian's Python, with the user and the paths of the published image. The context is made by build: wheels of
# Airflow and of what docker/airflow adds to it, so that neither build needs an index. Spark's operator polls with curl, which
# the published image has.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home airflow \
    && install -d -o airflow -m 0775 /opt/airflow /opt/airflow/dags /opt/airflow/logs
COPY wheels /opt/wheels
USER airflow
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 \
    AIRFLOW_HOME=/opt/airflow LANG=C.UTF-8 PATH=/home/airflow/venv/bin:$PATH
COPY airflow-requirements.txt /tmp/
RUN python3 -m venv /home/airflow/venv && pip install --no-cache-dir -r /tmp/airflow-requirements.txt
WORKDIR /opt/airflow
EXPOSE 8080
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "--help"]
