#!/bin/sh
# Draw the passwords that docker-compose.yml asks for, and write them into .env beside it, where
# `docker compose` looks for them. Nothing that is there is changed: whoever wants a new password
# takes its line out, and the service's volume with it where that keeps one (postgres).
set -eu
cd "$(dirname "$0")/../.."
umask 077
touch .env

draw() { # bytes, as hexadecimal digits: no letter of them means anything in a URL or a quoted text
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # name, value: unless there is one
    if ! grep -q "^$1=" .env; then
        printf '%s=%s\n' "$1" "$2" >> .env
        echo "$1 is new" >&2
    fi
}

# 16 bytes as Kafka writes an id: base64, with the letters that URLs can take, without padding.
keep KAFKA_CLUSTER_ID "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22)"
for name in KAFKA KAFKA_BROKER POSTGRES VALKEY S3 KAFKA_UI GRAFANA; do
    keep "${name}_PASSWORD" "$(draw 24)"
done
