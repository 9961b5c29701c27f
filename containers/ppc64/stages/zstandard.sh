# shellcheck shell=bash
# The zstandard of requirements/run.txt, which is two C files; from its sdist, as there is no wheel.
# needs: python

"$HOST_PYTHON" -m venv venv
pinned setuptools run.txt >setuptools.txt
pinned zstandard run.txt >zstandard.txt
venv/bin/pip install --quiet --require-hashes --no-deps --requirement setuptools.txt
# Its build system only tells pip what the sdist is.
venv/bin/pip download --quiet --require-hashes --no-deps --no-build-isolation --no-binary zstandard \
  --requirement zstandard.txt
mkdir source
tar --extract --strip-components=1 --directory=source --file="$(echo zstandard-*.tar.gz)"

packages=$out/usr/lib/python3.11/site-packages
version=$(sed -n 's/^Version: //p' source/PKG-INFO)
mkdir -p "$packages/zstandard-$version.dist-info"
cp source/PKG-INFO "$packages/zstandard-$version.dist-info/METADATA"
cp -r source/zstandard "$packages"
"$CROSS_CC" -O2 -fPIC -shared -I"$the_python/usr/include/python3.11" -Isource/c-ext -Isource/zstd \
  -o "$packages/zstandard/backend_c.cpython-311-$TRIPLET.so" source/c-ext/backend_c.c source/zstd/zstd.c
strip_all "$packages"
