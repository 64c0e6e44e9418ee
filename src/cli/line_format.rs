//! `--format`: lines for scripts, from a template with fields in braces.

use std::marker::PhantomData;

use crate::egg::cached_egg::CachedEgg;
use crate::util::printable::one_line;

/// A parsed template for lines about values of a type.
#[derive(Debug, Clone)]
pub struct LineFormat<T>(Vec<Part>, PhantomData<T>);

/// What a line can be about.
pub trait Fields: 'static {
    /// The fields with their values, in the order of the documentation.
    const FIELDS: &'static [Field<Self>];
}

pub type Field<T> = (&'static str, fn(&T) -> String);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Field(usize),
}

impl Fields for CachedEgg {
    const FIELDS: &'static [Field<Self>] = &[
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
}

impl<T: Fields> LineFormat<T> {
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
                let field = T::FIELDS.iter().position(|(field, _)| *field == name);
                let field =
                    field.ok_or_else(|| format!("no field {{{name}}}: {}", listed::<T>()))?;
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
        Ok(Self(parts, PhantomData))
    }

    /// The line of a value, with its end. What is not printable is escaped in fields, and not in the template.
    pub fn line(&self, value: &T) -> String {
        let mut line = self.0.iter().fold(String::new(), |mut line, part| {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(field) => line.push_str(&one_line(&T::FIELDS[*field].1(value))),
            }
            line
        });
        line.push('\n');
        line
    }
}

fn listed<T: Fields>() -> String {
    let names: Vec<&str> = T::FIELDS.iter().map(|(name, _)| *name).collect();
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::{list, used_by};
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    #[test]
    fn fields_are_replaced_and_braces_escaped() {
        let egg = CachedEgg::new(Digest::of(b"x"), &manifest(Vec::new()), 7, Provenance::default());
        let line = |template: &str| LineFormat::parse(template).map(|it| it.line(&egg));
        let (name, version) = (&egg.key.name, &egg.key.version);
        assert_eq!(line("{name}=={version}").unwrap(), format!("{name}=={version}\n"));
        assert_eq!(line("{{{blob_bytes}}}\\tä").unwrap(), "{7}\tä\n");
        assert_eq!(line("").unwrap(), "\n");
        for wrong in ["{name", "name}", "{nam}", "{}"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        assert!(line("{nam}").unwrap_err().contains("one of name, project, version"));
    }

    #[test]
    fn every_field_is_in_the_help() {
        fn names<T: Fields>() -> Vec<&'static str> {
            T::FIELDS.iter().map(|(name, _)| *name).collect()
        }
        for (help, names) in [
            (list::FIELDS_HELP, names::<CachedEgg>()),
            (used_by::FIELDS_HELP, names::<used_by::Use>()),
        ] {
            for name in names {
                assert!(help.contains(name), "{name}");
            }
        }
    }
}
