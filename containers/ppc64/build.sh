#!/usr/bin/env bash
# Builds a big-endian ppc64 userland from source on a Debian 12 amd64 host: Python, NumPy and what the tests call.
#
#   build.sh OUT.tar      builds (or goes on where it was interrupted), tests it under qemu-ppc64, writes OUT.tar
#   build.sh --packages   prints the Debian packages that it needs on this machine
#
# A stage is a script in stages/. Its result is a folder NAME-KEY in the work folder ($XTCP_PPC64_BUILD, otherwise
# xtcp/ppc64-build in the user's cache), KEY a hash of everything that it is made from; a folder that is there is not
# built again. Exit codes: 0, 2 wrong arguments, 78 a package is missing, 1 a stage failed (its log's end is shown).
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
repository=$(dirname "$(dirname "$here")")
readonly here repository
export repository # for the stages
readonly work=${XTCP_PPC64_BUILD:-${XDG_CACHE_HOME:-$HOME/.cache}/xtcp/ppc64-build}

readonly PACKAGES=(
  bison flex             # libpcap's and ss's grammars
  bzip2 xz-utils         # sources are packed so
  g++-powerpc64-linux-gnu gcc-powerpc64-linux-gnu
  gcc libc6-dev make     # for what the builds run here
  libc6-dev-ppc64-cross linux-libc-dev-ppc64-cross
  locales                # the source of C.UTF-8
  netbase                # /etc/services and /etc/protocols
  ninja-build            # NumPy
  perl                   # OpenSSL
  pkg-config             # configure scripts ask it, and it must say that there is nothing
  python3.11 python3.11-venv
  qemu-user-static
  tcl                    # SQLite
)

# Every stage after those that it needs; NumPy's chain is the longest and comes first.
readonly STAGES=(
  sources zlib libffi bzip2 xz openssl sqlite python numpy runtime busybox bash iproute2 tcpdump wheels zstandard
  image
)

# What of the repository a stage reads beside its own script.
declare -rA INPUTS=(
  [numpy]="requirements/run.txt requirements/cross.txt"
  [wheels]="requirements/pure.txt requirements/run.txt"
  [zstandard]="requirements/run.txt"
)

declare -A folders # by stage

say() {
  printf '%s\n' "ppc64 userland: $*" >&2
}

# needs STAGE: the stages whose results it uses, from its script.
needs() {
  sed -n 's/^# needs: //p' "$here/stages/$1.sh"
}

# name_folders: a stage's key changes with its script, with what it reads, and with every stage that it needs.
name_folders() {
  local stage need input key
  for stage in "${STAGES[@]}"; do
    key=$({
      cat "$here/stage.sh" "$here/stages/$stage.sh"
      for input in ${INPUTS[$stage]:-}; do
        cat "$repository/$input"
      done
      for need in $(needs "$stage"); do
        basename "${folders[$need]:?"$stage needs $need, which comes later"}"
      done
    } | sha256sum)
    folders[$stage]=$work/$stage-${key:0:12}
  done
}

check_packages() {
  local package missing=()
  for package in "${PACKAGES[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} > 0)); then
    say "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
    exit 78
  fi
}

# cpu_seconds: of the output of `times`, what the shell's children took.
cpu_seconds() {
  awk 'NR == 2 { split($1, u, "m"); split($2, s, "m"); print int(60 * (u[1] + s[1]) + u[2] + s[2]) }'
}

# build_stage STAGE: runs its script in a fresh folder; the result gets its name when it is whole.
build_stage() {
  local stage=$1 need begin=$SECONDS
  local folder=${folders[$stage]} part=${folders[$stage]}.part log=$work/$stage.log
  if [[ -d $folder ]]; then
    return
  fi
  rm -rf "$part"
  mkdir -p "$part/build" "$part/out"
  for need in $(needs "$stage"); do
    export "the_$need=${folders[$need]}"
  done
  if ! (cd "$part/build" && out=$part/out bash "$here/stage.sh" "$stage") >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    say "$stage FAILED after $((SECONDS - begin)) s; the whole log is $log"
    return 1
  fi
  mv "$part/out" "$folder"
  times >"$part/times"
  say "$stage: $((SECONDS - begin)) s, $(cpu_seconds <"$part/times") s of processor time"
  rm -rf "$part"
}

# build_all: by make, whose job server keeps all processors busy over every stage's own make.
build_all() {
  local stage need
  {
    printf '.PHONY: all\nall: %s\n' "${folders[image]}"
    for stage in "${STAGES[@]}"; do
      printf '%s:' "${folders[$stage]}"
      for need in $(needs "$stage"); do
        printf ' %s' "${folders[$need]}"
      done
      printf '\n\t+@%q --stage %s\n' "$here/build.sh" "$stage"
    done
  } >"$work/Makefile"
  # Times of folders say nothing: their names do (build_stage looks). What does not need a stage that failed is built.
  if ! nice -n 10 make --no-print-directory --jobs="$(nproc)" --keep-going --file="$work/Makefile" all >&2; then
    say "not built; the same command goes on from here"
    exit 1
  fi
}

# forget_old: results and leftovers of other versions of the stages.
forget_old() {
  local path kept
  kept=" ${folders[*]} "
  for path in "$work"/*-????????????*/; do
    path=${path%/}
    [[ $kept == *" $path "* ]] || rm -rf "$path"
  done
}

main() {
  case $#:${1:-} in
    1:--packages)
      printf '%s\n' "${PACKAGES[@]}"
      ;;
    2:--stage)
      name_folders
      build_stage "$2"
      ;;
    1:-* | [!1]:*)
      printf 'usage: build.sh OUT.tar | build.sh --packages\n' >&2
      exit 2
      ;;
    *)
      check_packages
      mkdir -p "$work"
      exec {lock}>"$work/lock"
      flock "$lock"
      name_folders
      [[ -d ${folders[image]} ]] || build_all
      forget_old
      cp --reflink=auto "${folders[image]}/userland.tar" "$1.part"
      mv "$1.part" "$1"
      ;;
  esac
}

main "$@"
