#!/bin/sh
# Compile the lock files: hashes for every file, no index named, one version set for all of them.
set -eu
uv=$1
lock() {
    "$uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --quiet "$@"
}
lock -o dev.txt dev.in
for name in server sdk demo otel; do
    lock -c dev.txt -o "$name.txt" "$name.in"
done
for peer in peers/*.in; do
    lock -o "${peer%.in}.txt" "$peer"
done
