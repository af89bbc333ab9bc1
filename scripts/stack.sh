#!/usr/bin/env bash
# What the scripts of the stack in containers (docs/containers.md) share. Sourced by them, from the root of the checkout.
#
# LAKE_STACK_IMAGES says whose images run beside ours: `published`, or `local`, which docker/base/build makes of Debian's
# packages. Default: local where they have been made.

script=$(basename "$0")
profiles=(airflow monitoring grafana)

# Everything but answers goes to standard error, so that what a job prints can be piped.
say() { echo "$*" >&2; }

die() {
    echo "scripts/$script: $*" >&2
    exit 1
}

# The comment at the top of a script, without its first line.
help() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/$script"
    exit 0
}

# A setting of the stack: of the shell, else of docker/.env.
setting() {
    local name=$1
    if [ -n "${!name+set}" ]; then
        echo "${!name}"
    else
        sed -n "s/^$name=//p" docker/.env | tail -1
    fi
}

need_engine() {
    docker version >/dev/null 2>&1 || die 'no Docker engine answers: start it, or set DOCKER_HOST'
    if docker compose version >/dev/null 2>&1; then
        compose_command=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose_command=(docker-compose)
    else
        die "neither 'docker compose' nor docker-compose is there: install either (Debian: apt-get install docker-compose)"
    fi
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Whose images run beside ours: published or local.
images() {
    if [ -n "${LAKE_STACK_IMAGES:-}" ]; then
        echo "$LAKE_STACK_IMAGES"
    elif has_image lake-local/postgres; then
        echo local
    else
        echo published
    fi
}

# compose <command> [options]: over all services that have been asked for, those of COMPOSE_PROFILES included.
compose() {
    local files=(-f docker/compose.yaml)
    if [ "$(images)" = local ]; then files+=(-f docker/compose.local.yaml); fi
    "${compose_command[@]}" --project-directory docker --env-file docker/.env "${files[@]}" "$@"
}

# The same over the services of all profiles.
compose_all() { COMPOSE_PROFILES=$(IFS=,; echo "${profiles[*]}") compose "$@"; }

# Whether a service has a container that runs.
runs() {
    local container
    container=$(compose_all ps -q "$1" 2>/dev/null | head -1)
    [ -n "$container" ] && [ "$(docker inspect --format '{{.State.Running}}' "$container" 2>/dev/null)" = true ]
}

# in_service <service> <command>: without a terminal where there is none.
in_service() {
    local service=$1 options=()
    shift
    if ! [ -t 0 ] || ! [ -t 1 ]; then options+=(-T); fi
    compose exec "${options[@]}" "$service" "$@"
}

need_running() {
    runs "$1" || die "$1 does not run: start the stack with scripts/up"
}

# bytes <size>: 8g, 512m, 1073741824.
bytes() {
    local size=${1,,} factor=1
    case "$size" in
        *k) factor=$((1 << 10)) ;;
        *m) factor=$((1 << 20)) ;;
        *g) factor=$((1 << 30)) ;;
        *t) factor=$((1 << 40)) ;;
    esac
    size=${size%[kmgt]}
    [[ $size =~ ^[0-9]+$ ]] || return 1
    echo $((size * factor))
}

# The addresses of what runs, for people.
urls() {
    local host
    host=$(setting LAKE_BIND)
    say "  web page     http://$host:$(setting LAKE_UI_PORT)"
    say "  masters      lake://$host:$(setting LAKE_PORT)"
    say "  S3           http://$host:$(setting S3_PORT)        PostgreSQL $host:$(setting CRM_PUBLISHED_PORT)"
    if runs airflow; then say "  Airflow      http://$host:$(setting AIRFLOW_PORT)"; fi
    if runs prometheus; then say "  Prometheus   http://$host:$(setting PROMETHEUS_PORT)"; fi
    if runs grafana; then say "  Grafana      http://$host:$(setting GRAFANA_PORT)"; fi
}
