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
failed=0
answer=$(printf '{"do":"create","by":"compose","key":{"name":"%s","role":"%s","owner":"local","expires_at":null}}' \
    "$1" "${2:-admin}" |
    docker compose exec -T gateway-api python -m gateway keys) || failed=$?
key=$(printf '%s\n' "$answer" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
if [ "$failed" -ne 0 ] || [ -z "$key" ]; then
    echo "key.sh: no key was made. $answer" >&2
    exit 1
fi
printf '%s\n' "$key"
