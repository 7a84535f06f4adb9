#!/bin/sh
# The site builds without a warning, no link in it leads nowhere, and the README's program is that of the examples:
# test.sh DOXYFILE SITE. Ends with 77 where there is no Doxygen 1.9.4: others have other warnings.
set -eu
if ! command -v doxygen >/dev/null; then
    echo "skipped: no doxygen"
    exit 77
fi
version=$(doxygen --version | cut -d' ' -f1)
if [ "$version" != 1.9.4 ]; then
    echo "skipped: this is doxygen $version"
    exit 77
fi
doxygen "$1"
if ! command -v python3 >/dev/null; then
    echo "no python3: links are not checked"
    exit 0
fi
here=$(dirname "$0")
python3 "$here/check_links.py" "$2"
python3 "$here/check_samples.py" "$here/../.."
