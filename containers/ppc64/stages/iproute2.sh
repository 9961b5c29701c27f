# shellcheck shell=bash
# ss, the witness, and ip, for namespaces and routes; without the libraries that only other programs of it need.
# needs: sources

unpack iproute2
export CC=$CROSS_CC AR=$CROSS_AR HOSTCC=gcc
./configure
make SUBDIRS=lib
make SUBDIRS=ip TARGETS=ip SCRIPTS=
make SUBDIRS=misc TARGETS=ss
install -D -t "$out/usr/sbin" ip/ip
install -D -t "$out/usr/bin" misc/ss
ln -s ../sbin/ip "$out/usr/bin/ip"
cp -r etc "$out/etc"
strip_all "$out/usr"
