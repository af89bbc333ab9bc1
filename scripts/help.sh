#!/usr/bin/env bash
# --help of a script is the comment at its top. Sourced by scripts, from the root of the checkout, with their arguments.

case "${1:-}" in
    -h | --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/$(basename "$0")"
        exit 0
        ;;
esac
