# shellcheck shell=bash
# needs: sources

unpack xz-utils
configure --prefix= --disable-shared --enable-static --with-pic --disable-nls --disable-doc --disable-scripts \
  --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo --disable-lzma-links
make
make install DESTDIR="$out"
