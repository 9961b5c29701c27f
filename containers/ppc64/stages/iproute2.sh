# shellcheck shell=bash
# ss, the witness, ip, for namespaces and routes, and tc, with the few queues that the zoo of sockets needs; without the
# libraries that only other programs of it need.
# needs: sources

unpack iproute2
export CC=$CROSS_CC AR=$CROSS_AR HOSTCC=gcc
./configure
make SUBDIRS=lib
make SUBDIRS=ip TARGETS=ip SCRIPTS=
make SUBDIRS=misc TARGETS=ss
make SUBDIRS=tc TARGETS=tc TCSO= TCMODULES="q_fifo.o q_fq.o q_fq_codel.o q_ingress.o q_netem.o q_prio.o q_tbf.o"
install -D -t "$out/usr/sbin" ip/ip tc/tc
install -D -t "$out/usr/bin" misc/ss
ln -s ../sbin/ip "$out/usr/bin/ip"
cp -r etc "$out/etc"
strip_all "$out/usr"
