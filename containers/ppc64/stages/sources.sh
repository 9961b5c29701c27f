# shellcheck shell=bash
# The upstream sources, as Debian's source packages carry them: fetched and verified by apt, with a state of its own, so
# that this machine's apt is left as it is.

readonly SOURCES=(bash busybox bzip2 iproute2 libffi libpcap openssl python3.11 sqlite3 tcpdump xz-utils zlib)

# shellcheck disable=SC2016 # $(SITE) is for apt
# The mirror that apt takes Debian 12's packages from.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' | head -n 1)
if [[ -z $mirror ]]; then
  echo "apt knows no mirror of Debian 12 (bookworm). Run apt-get update on a Debian 12 machine first." >&2
  exit 1
fi
mkdir -p lists/partial
cat >debian.sources <<END
Types: deb-src
URIs: $mirror
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
options=(
  -q -o Acquire::Retries=3
  -o Dir::Etc::sourcelist="$PWD/debian.sources" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::State::lists="$PWD/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=
)
apt-get "${options[@]}" update
cd "$out"
apt-get "${options[@]}" source --download-only "${SOURCES[@]}"
