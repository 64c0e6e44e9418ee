//! Chooses which cases of a matrix to try and counts them: `make reliability` turns the counts into
//! its table.

use std::io::Write;

/// Whether to try every case instead of the quick selection.
pub fn thorough() -> bool {
    std::env::var_os("EGGCACHE_THOROUGH").is_some()
}

/// Every case in a thorough run, otherwise every `stride`th, starting with the first.
pub fn chosen<T>(cases: impl IntoIterator<Item = T>, stride: usize) -> impl Iterator<Item = T> {
    cases.into_iter().step_by(if thorough() { 1 } else { stride })
}

/// Records that `tried` cases of a matrix passed. A failing case fails its test, so only passing
/// cases are ever counted. Appends one JSON line to the file named by `EGGCACHE_COUNTS`, if it is
/// set.
pub fn record(matrix: &str, of: &str, tried: usize) {
    let Some(file) = std::env::var_os("EGGCACHE_COUNTS") else { return };
    let line = serde_json::json!({ "matrix": matrix, "of": of, "tried": tried });
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
