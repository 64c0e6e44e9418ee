#!/bin/sh
# Builds a wheel for other machines, with the program in it twice: as the command, and inside of the package for
# buildouts that install the wheel themselves, which drop the command (`find_program` in _bridge.py).
#
# Usage: wheel.sh PYTHON TARGET COMPATIBILITY FOLDER
#   PYTHON         has maturin, for Linux with zig, and wheel
#   TARGET         a target of rustc, such as aarch64-unknown-linux-musl
#   COMPATIBILITY  of the platform tag: manylinux2014, musllinux_1_2, or pypi for macOS
#   FOLDER         gets the wheel, and the folder `unpacked`
set -eu
python=$1 target=$2 compatibility=$3 folder=$4
inside=python/eggcache/_bin/eggcache-not-pyc

case $target in
*-linux-*) linker=--zig ;;
*) linker= ;;
esac

rm -rf "$folder"
mkdir -p "$folder" "${inside%/*}"

# The first build makes the program, the second puts it into the package.
build() {
    PATH="${python%/*}:$PATH" "$python" -m maturin build --release --locked $linker --target "$target" \
        --compatibility "$compatibility" --out "$folder" >"$folder/maturin.log" 2>&1 ||
        { cat "$folder/maturin.log"; exit 1; }
}
: >"$inside"
build
"$python" -m zipfile -e "$folder"/eggcache-*.whl "$folder/unpacked"
cp "$folder"/unpacked/eggcache-*.data/scripts/eggcache "$inside"
build

# maturin tags wheels that hold a program with Python 3 only. The date is that of the other files.
SOURCE_DATE_EPOCH=315532800 "$python" -m wheel tags --remove --python-tag py2.py3 "$folder"/eggcache-*.whl
