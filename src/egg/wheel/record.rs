//! RECORD: the list of a distribution's files, as comma-separated values in Python's dialect.

use std::collections::HashSet;

use super::reason::Reason;

/// The longest RECORD that is read, in bytes.
pub const MAX_LENGTH: u64 = 16 << 20;
const FILE: &str = "RECORD";

/// Path, digest and size, as text: two of them may be empty. They are sorted as pip sorts them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub path: String,
    pub digest: String,
    pub size: String,
}

impl Row {
    /// A row without digest and size.
    pub fn bare(path: impl Into<String>) -> Self {
        Self { path: path.into(), digest: String::new(), size: String::new() }
    }
}

/// Reads a RECORD, which must not have more than `most` rows.
pub fn parse(text: &[u8], most: usize) -> Result<Vec<Row>, Reason> {
    let odd = |problem: &str| Reason::metadata(FILE, problem);
    let text = std::str::from_utf8(text).map_err(|_| odd("is not UTF-8"))?;
    // Python ends a line at more characters than these.
    let is_odd = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\r') || matches!(c, '\u{2028}' | '\u{2029}')
    };
    if text.contains(is_odd) {
        return Err(odd("has control characters"));
    }
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut fields = fields(line).ok_or_else(|| odd("cannot be parsed"))?.into_iter();
        let mut next = || fields.next().unwrap_or_default();
        let row = Row { path: next(), digest: next(), size: next() };
        if row.path.is_empty() || fields.next().is_some() {
            return Err(odd("has a row without a path or with more than three fields"));
        }
        if rows.len() == most {
            return Err(Reason::TooMuch { what: "rows in RECORD", most: most as u64 });
        }
        rows.push(row);
    }
    let mut paths = HashSet::new();
    if let Some(row) = rows.iter().find(|row| !paths.insert(&row.path)) {
        return Err(odd(&format!("has {} twice", row.path)));
    }
    Ok(rows)
}

/// The fields of a line; `None` if a quotation mark is not where Python's writer would put one.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut tail = quoted;
            loop {
                let (part, after) = tail.split_once('"')?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        tail = after;
                    }
                    None => break (field, after),
                }
            }
        } else {
            let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if field.contains('"') {
                return None;
            }
            (field.to_owned(), after)
        };
        fields.push(field);
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// The text of a RECORD with these rows.
#[must_use]
pub fn write(mut rows: Vec<Row>) -> String {
    rows.sort_unstable();
    let mut text = String::new();
    for Row { path, digest, size } in &rows {
        for (field, end) in [(path, ","), (digest, ","), (size, "\r\n")] {
            if field.contains([',', '"', '\r', '\n']) {
                text.push('"');
                text.push_str(&field.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(field);
            }
            text.push_str(end);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, digest: &str, size: &str) -> Row {
        Row { path: path.into(), digest: digest.into(), size: size.into() }
    }

    #[test]
    fn rows_are_read_and_written_sorted() {
        let text = "b.py,sha256=x,1\r\n\"a,\"\"b\"\".py\",,\nc\n";
        let rows = parse(text.as_bytes(), 3).unwrap();
        assert_eq!(rows, [row("b.py", "sha256=x", "1"), row("a,\"b\".py", "", ""), Row::bare("c")]);
        assert!(parse(text.as_bytes(), 2).is_err());
        assert_eq!(write(rows), "\"a,\"\"b\"\".py\",,\r\nb.py,sha256=x,1\r\nc,,\r\n");
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["a\"b,,\n", "\"a,,\n", "\"a\"b,,\n", "a,b,c,d\n", ",b,c\n", "a\x0bb,,\n", "a,,\na,,\n"]
        {
            assert!(parse(text.as_bytes(), 9).is_err(), "{text:?}");
        }
        assert!(parse(b"\xff,,\n", 9).is_err());
    }
}
