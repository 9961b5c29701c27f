# shellcheck shell=bash
# pyroute2 and prometheus_client import ssl when they are imported, and the tests make certificates with openssl.
# needs: sources

unpack openssl
# What neither Python nor a TLS connection of today needs; assembler would be for processors that qemu makes up anyway.
./Configure linux-ppc64 --cross-compile-prefix="$TRIPLET-" --prefix=/usr --libdir=lib --openssldir=/etc/ssl \
  CFLAGS="-O1 -fPIC" no-shared no-asm no-tests no-engine no-module no-legacy no-dso no-afalgeng no-async no-comp no-cms \
  no-ct no-cmp no-srp no-gost no-dtls no-ts no-rfc3779 no-aria no-camellia no-seed no-idea no-cast no-rc2 no-rc4 no-rc5 \
  no-bf no-des no-sm2 no-sm3 no-sm4 no-whirlpool no-mdc2 no-siphash
make build_libs
make apps/openssl
make install_dev DESTDIR="$out"
install -D -t "$out/usr/bin" apps/openssl
install -D -m 644 -t "$out/etc/ssl" apps/openssl.cnf
