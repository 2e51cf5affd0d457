#!/usr/bin/env bash
# Writes the lock files anew: one per Python version, every package with its hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for version in 3.11 3.12 3.13; do
  uv pip compile --quiet --upgrade --universal --generate-hashes --annotation-style line \
    --python-version "$version" --custom-compile-command "requirements/lock.sh" \
    --output-file "requirements/lock-py${version/./}.txt" requirements-dev.txt
done
