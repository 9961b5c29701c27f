# shellcheck shell=bash
# tcpdump with its own libpcap, which it finds beside itself.
# needs: sources

unpack libpcap libpcap
unpack tcpdump tcpdump
(
  cd libpcap
  configure --disable-shared --with-pcap=linux --disable-usb --disable-netmap --disable-bluetooth --disable-dbus \
    --disable-rdma --without-libnl --without-dag --without-septel --without-snf --without-turbocap --without-dpdk
  make libpcap.a
)
cd tcpdump
CFLAGS=-O1 configure --prefix=/usr --without-crypto --without-cap-ng --without-smi
make tcpdump
install -D -t "$out/usr/bin" tcpdump
strip_all "$out/usr"
