#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    eggcache_fuzz::properties::bytecode::bytecode(input);
});
