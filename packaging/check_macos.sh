#!/bin/sh
# Compiles the library and the program for macOS, with the lints. zig brings the headers of macOS for the C
# code of dependencies. Nothing is linked: that needs the libraries of a Mac.
#
# Usage: check_macos.sh PYTHON, which has ziglang.
set -eu
python=$1
target=aarch64-apple-darwin
rustup target add "$target"

# The compiler driver of zig has other names for machines than rustc and cc.
cc=$PWD/build/check-macos/cc
mkdir -p "${cc%/*}"
cat >"$cc" <<END
#!/bin/sh
for argument; do
    shift
    case \$argument in
    --target=* | -arch | arm64 | -mmacosx-version-min=*) ;;
    *) set -- "\$@" "\$argument" ;;
    esac
done
exec "$python" -m ziglang cc -target aarch64-macos "\$@"
END
printf '#!/bin/sh\nexec "%s" -m ziglang ar "$@"\n' "$python" >"$cc-ar"
chmod +x "$cc" "$cc-ar"

export CC_aarch64_apple_darwin="$cc" AR_aarch64_apple_darwin="$cc-ar"
cargo clippy --locked --target "$target" --lib --bins -- --deny warnings
