# shellcheck shell=bash
# needs: sources

unpack bash
configure --prefix=/usr --without-bash-malloc --disable-nls --disable-readline --disable-progcomp
make bash
install -D -t "$out/usr/bin" bash
strip_all "$out/usr/bin"
