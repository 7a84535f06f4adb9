#!/bin/sh
# The site builds without a warning, and no link in it leads nowhere: test.sh DOXYFILE SITE. Ends with 77 where there is
# no doxygen to build it.
set -eu
if ! command -v doxygen >/dev/null; then
    echo "skipped: no doxygen"
    exit 77
fi
doxygen "$1"
if ! command -v python3 >/dev/null; then
    echo "no python3: links are not checked"
    exit 0
fi
python3 "$(dirname "$0")/check_links.py" "$2"
