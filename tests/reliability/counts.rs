//! How much is tried, and how much was: `make reliability` makes its table of these counts.

use std::io::Write;

/// Whether to try everything there is, in place of the quick part.
pub fn thorough() -> bool {
    std::env::var_os("EGGCACHE_THOROUGH").is_some()
}

/// Every case if all are to be tried, else each `stride`th, beginning with the first.
pub fn chosen<T>(cases: impl IntoIterator<Item = T>, stride: usize) -> impl Iterator<Item = T> {
    cases.into_iter().step_by(if thorough() { 1 } else { stride })
}

/// Says that `tried` cases of a matrix have been tried without a loss. A loss fails its test, so
/// only what was sound is ever counted. Appends one JSON line to the file that `EGGCACHE_COUNTS`
/// names, if it names one.
pub fn record(matrix: &str, of: &str, tried: usize) {
    let Some(file) = std::env::var_os("EGGCACHE_COUNTS") else { return };
    let line = serde_json::json!({ "matrix": matrix, "of": of, "tried": tried });
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
