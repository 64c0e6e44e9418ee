//! What other programs print.

/// The last line of what a process has printed.
#[must_use]
pub fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it prints nothing").into()
}
