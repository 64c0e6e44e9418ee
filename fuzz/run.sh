#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for FUZZ_SECONDS each (60 if unset), and ends
# with what each has tried. Fails if any of them finds something; the input is in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(manifest blob egg_name metadata zip_egg round_trip)

# The sanitizers that catch what is wrong are for unstable compilers only, but work with a stable one.
export RUSTC_BOOTSTRAP=1
# Memory that is freed does not count: what is looked for is how much an input needs at once.
export ASAN_OPTIONS=quarantine_size_mb=16
export PATH="$PWD/build/tools/cargo/bin:$PATH"
mkdir -p fuzz/logs

status=0
summary=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    log=fuzz/logs/$target.log
    echo "fuzzing $target for $seconds s"
    # The corpus grows in the first folder and begins with what is in both.
    if ! cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
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
