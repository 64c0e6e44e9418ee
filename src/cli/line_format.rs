//! `--format`: one line for each egg, for scripts, from a template with fields in braces.

use std::fmt::Write;

use crate::egg::cached_egg::CachedEgg;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(usize),
}

type Value = fn(&CachedEgg) -> String;

/// The fields, in the order of the documentation.
const FIELDS: [(&str, Value); 15] = [
    ("name", |egg| egg.key.name.clone()),
    ("project", CachedEgg::project),
    ("version", |egg| egg.key.version.clone()),
    ("digest", |egg| egg.digest.to_string()),
    ("file_name", |egg| egg.file_name.clone()),
    ("python", |egg| egg.key.python.clone()),
    ("platform", |egg| egg.key.platform.clone()),
    ("generation", |egg| egg.key.generation.to_string()),
    ("bytes", |egg| egg.counts.bytes.to_string()),
    ("blob_bytes", |egg| egg.blob_bytes.to_string()),
    ("used_at", |egg| egg.used_at.to_string()),
    ("added_at", |egg| egg.provenance.added_at.to_string()),
    ("source", |egg| egg.provenance.source.clone().unwrap_or_default()),
    ("source_sha256", |egg| egg.key.source_sha256.clone()),
    ("environment", |egg| egg.key.environment.clone()),
];

impl LineFormat {
    /// Parses a template. `{{` and `}}` are braces, `\t` is a tab.
    ///
    /// # Errors
    /// The reason, as the end of a sentence.
    pub fn parse(template: &str) -> Result<Self, String> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = template;
        while let Some(c) = rest.chars().next() {
            let (literal, length) = match rest.get(..2) {
                Some("{{") => ('{', 2),
                Some("}}") => ('}', 2),
                Some("\\t") => ('\t', 2),
                _ => (c, c.len_utf8()),
            };
            if length < 2 && c == '{' {
                let (name, after) = rest[1..].split_once('}').ok_or("a { without }")?;
                let field = FIELDS.iter().position(|(field, _)| *field == name);
                let field = field.ok_or_else(|| format!("no field {{{name}}}: {}", listed()))?;
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Field(field));
                rest = after;
            } else if length < 2 && c == '}' {
                return Err("a } without {".into());
            } else {
                text.push(literal);
                rest = &rest[length..];
            }
        }
        parts.push(Part::Text(text));
        Ok(Self(parts))
    }

    /// The line of an egg.
    pub fn line(&self, egg: &CachedEgg) -> String {
        self.0.iter().fold(String::new(), |mut line, part| {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(field) => drop(write!(line, "{}", FIELDS[*field].1(egg))),
            }
            line
        })
    }
}

fn listed() -> String {
    let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    #[test]
    fn fields_are_replaced_and_braces_escaped() {
        let egg = CachedEgg::new(Digest::of(b"x"), &manifest(Vec::new()), 7, Provenance::default());
        let line = |template: &str| LineFormat::parse(template).map(|it| it.line(&egg));
        let (name, version) = (&egg.key.name, &egg.key.version);
        assert_eq!(line("{name}=={version}").unwrap(), format!("{name}=={version}"));
        assert_eq!(line("{{{blob_bytes}}}\\tä").unwrap(), "{7}\tä");
        assert_eq!(line("").unwrap(), "");
        for wrong in ["{name", "name}", "{nam}", "{}"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        assert!(line("{nam}").unwrap_err().contains("one of name, project, version"));
    }

    #[test]
    fn every_field_is_in_the_help() {
        let help = crate::cli::commands::list::FIELDS_HELP;
        for (name, _) in FIELDS {
            assert!(help.contains(name), "{name}");
        }
    }
}
