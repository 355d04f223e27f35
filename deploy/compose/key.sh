#!/bin/sh
# Make a key for the gateway, and print it: sh deploy/compose/key.sh NAME [ROLE]
# Roles: viewer < uploader < reviewer < trainer < admin (default).
set -eu
cd "$(dirname "$0")/../.."
case "${1-}${2-}" in
'' | *[!A-Za-z0-9._-]*)
    echo "usage: sh deploy/compose/key.sh NAME [ROLE], of letters, digits, . _ -" >&2
    exit 2
    ;;
esac
printf '{"do":"create","by":"compose","key":{"name":"%s","role":"%s","owner":"local","expires_at":null}}' \
    "$1" "${2:-admin}" |
    docker compose exec -T gateway-api python -m gateway keys |
    sed -n 's/.*"token": *"\([^"]*\)".*/\1/p;s/.*"error": *"\([^"]*\)".*/key.sh: \1/p'
