#!/usr/bin/env bash
# Builds a small big-endian ppc64 kernel from Debian 12's kernel source, as no distribution has one.
#
#   build.sh OUTDIR       OUTDIR/vmlinux (boots with -M pseries -kernel), OUTDIR/release (uname -r), OUTDIR/config
#   build.sh --packages   prints the Debian packages that it needs on this machine
#
# Works in $XTCP_PPC64_KERNEL_BUILD, otherwise xtcp/ppc64-kernel-build in the user's cache; goes on there where it was
# interrupted, and removes it at the end. Exit codes: 0, 2 wrong arguments, 78 a package is missing, 1 it failed.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
readonly here
readonly work=${XTCP_PPC64_KERNEL_BUILD:-${XDG_CACHE_HOME:-$HOME/.cache}/xtcp/ppc64-kernel-build}
readonly archive=/usr/src/linux-source-6.1.tar.xz
readonly source=$work/source objects=$work/objects

readonly PACKAGES=(bc bison flex gcc gcc-powerpc64-linux-gnu libc6-dev linux-source-6.1 make perl xz-utils)

say() {
  printf '%s\n' "ppc64 kernel: $*" >&2
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

# unpack: without most of what is compiled for other machines and devices. Kconfig files stay: they refer to each other.
unpack() {
  local folder excluded=()
  for folder in \
    arch/{alpha,arc,arm,arm64,csky,hexagon,ia64,loongarch,m68k,microblaze,mips,nios2,openrisc,parisc,riscv,s390,sh} \
    arch/{sparc,um,x86,xtensa} drivers/{gpu,hwmon,iio,infiniband,media,mtd,net/ethernet,net/wireless,scsi,staging} \
    fs/{btrfs,ceph,cifs,ext4,f2fs,ocfs2,xfs} samples sound tools/{perf,testing}; do
    excluded+=(--exclude="linux-source-*/$folder/*.[chS]")
  done
  mkdir -p "$source"
  tar --extract --directory="$source" --strip-components=1 --file="$archive" "${excluded[@]}" \
    --exclude='*.rst' --exclude='*.yaml' --exclude='*.dts*'
}

kernel() {
  make --no-print-directory --directory="$source" O="$objects" ARCH=powerpc CROSS_COMPILE=powerpc64-linux-gnu- \
    KBUILD_BUILD_USER=xtcp KBUILD_BUILD_HOST=xtcp KBUILD_BUILD_TIMESTAMP=@0 "$@"
}

# not_granted: lines of kernel.config that the configuration made from it does not have.
not_granted() {
  grep -E '^(# )?CONFIG_' "$here/kernel.config" | grep -vxFf "$objects/.config" |
    grep -v 'is not set' || true # one that is not set may have no line at all
}

build() {
  local version missing
  version=$(dpkg-query -W -f '${Version}' linux-source-6.1)
  if [[ $(cat "$work/version" 2>/dev/null) != "$version" ]]; then
    rm -rf "$work"
    say "unpacking Debian's source $version"
    unpack
    printf '%s\n' "$version" >"$work/version"
  fi
  mkdir -p "$objects"
  kernel KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig
  missing=$(not_granted)
  if [[ -n $missing ]]; then
    say "this source does not grant what kernel.config asks for:"
    printf '%s\n' "$missing" >&2
    return 1
  fi
  kernel --jobs="$(nproc)" vmlinux
}

main() {
  local begin=$SECONDS out code
  case $#:${1:-} in
    1:--packages)
      printf '%s\n' "${PACKAGES[@]}"
      return
      ;;
    1:-* | [!1]:*)
      printf 'usage: build.sh OUTDIR | build.sh --packages\n' >&2
      exit 2
      ;;
  esac
  check_packages
  out=$1
  mkdir -p "$out" "${work%/*}"
  exec {lock}>"$work.lock"
  flock "$lock"
  renice -n 10 $$ >/dev/null
  set +e # so that it can hold inside
  (
    set -e
    build
  ) >"$work.log" 2>&1
  code=$?
  set -e
  if ((code != 0)); then
    tail -n 30 "$work.log" >&2
    say "FAILED after $((SECONDS - begin)) s; the whole log is $work.log"
    exit 1
  fi
  powerpc64-linux-gnu-strip -o "$out/vmlinux" "$objects/vmlinux"
  cp "$objects/.config" "$out/config"
  cp "$objects/include/config/kernel.release" "$out/release"
  rm -rf "$work"
  say "$(cat "$out/release"): $((SECONDS - begin)) s"
}

main "$@"
