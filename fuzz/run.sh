#!/usr/bin/env bash
# Runs every fuzz target, or the named ones, for FUZZ_SECONDS each (default: 60), and prints how many
# inputs each has tried. Fails if a target finds something; the input is then in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(manifest blob egg_name metadata zip_egg round_trip
    elf entry_list statement policy buildout_file cache_file requests archive wheel
    bytecode)

# Sanitizers are a nightly feature, but they also work in a stable compiler.
export RUSTC_BOOTSTRAP=1
# Do not count freed memory: the limit is for how much an input needs at once.
export ASAN_OPTIONS=quarantine_size_mb=16
export PATH="$PWD/build/tools/cargo/bin:$PATH"
mkdir -p fuzz/logs

status=0
summary=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    log=fuzz/logs/$target.log
    echo "fuzzing $target for $seconds s"
    # The first folder collects new inputs; the run starts from the inputs in both. A target may change
    # its folder.
    if ! cargo fuzz run "$target" "$PWD/fuzz/corpus/$target" "$PWD/fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=512 -malloc_limit_mb=256 -timeout=10 \
        -max_len=131072 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log" | cut -c 1-200
        summary+=("$target: FAILED, see $log and fuzz/artifacts/$target")
        status=1
        continue
    fi
    tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)
    summary+=("$target: $tried executions, $covered")
    if [ -n "${EGGCACHE_COUNTS:-}" ]; then
        printf '{"matrix":"fuzz","of":"%s","tried":%s}\n' "$target" "$tried" >>"$EGGCACHE_COUNTS"
    fi
done
printf '%s\n' "${summary[@]}"
exit $status
