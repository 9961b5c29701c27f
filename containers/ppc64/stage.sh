#!/usr/bin/env bash
# Runs one stage: `stage.sh NAME`, started by build.sh in an empty folder, with $repository, with $out for the result (a
# root folder of the userland or, for libraries, a prefix) and with $the_STAGE, the result of each stage that it needs.
# Here is what the stages share.
set -euo pipefail

readonly TRIPLET=powerpc64-linux-gnu # big-endian, ELF ABI version 1; little-endian is powerpc64le
# shellcheck disable=SC2034 # they are for the stages
readonly CROSS_CC=$TRIPLET-gcc CROSS_CXX=$TRIPLET-g++ CROSS_AR=$TRIPLET-ar CROSS_RANLIB=$TRIPLET-ranlib \
  CROSS_STRIP=$TRIPLET-strip HOST_PYTHON=/usr/bin/python3.11

# This machine's own libraries are not for the target.
export PKG_CONFIG_LIBDIR=/nonexistent PKG_CONFIG_PATH=
export LC_ALL=C.UTF-8

# unpack PACKAGE [FOLDER]: the unchanged upstream source of a Debian source package.
unpack() {
  local folder=${2:-.} archive
  archive=$(find "${the_sources:?}" -name "$1_*.orig.tar.*" ! -name '*.asc')
  mkdir -p "$folder"
  tar --extract --strip-components=1 --directory="$folder" --file="$archive"
}

# pinned NAME FILE: a package's version and hashes in one of requirements/.
pinned() {
  sed -n "/^$1==/,/[^\\\\]\$/p" "${repository:?}/requirements/$2"
}

# configure ARGUMENT…: an autoconf package for the target.
configure() {
  ./configure --quiet --host="$TRIPLET" --build=x86_64-linux-gnu "$@"
}

# strip_all FOLDER…: programs and shared objects.
strip_all() {
  find "$@" -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/bin/*' -o -path '*/sbin/*' \) -print0 |
    while IFS= read -r -d '' file; do
      [[ $(head -c 4 "$file") != $'\x7fELF' ]] || "$CROSS_STRIP" --strip-unneeded "$file"
    done
}

# shellcheck source=/dev/null
. "$(dirname "${BASH_SOURCE[0]}")/stages/$1.sh"
