//! The license of a distribution, as its core metadata declares it.
//!
//! `License-Expression` (PEP 639) counts first, then the classifiers, then the field `License`, which can
//! contain anything. A classifier that leaves the version open, such as that of the GPL or the BSD
//! licenses, does not name one license.

use mailparse::{MailHeader, MailHeaderMap};
use serde::Serialize;

/// The longest text of a license that is kept, in bytes. Some packages have the whole license there.
const MAX_TEXT: usize = 1 << 16;
/// The longest name of a license, in characters.
const MAX_NAME: usize = 200;
/// The longest expression that is parsed, in bytes.
const MAX_EXPRESSION: usize = 4096;

const CLASSIFIER: &str = "License :: ";

/// Classifiers that name one license, without `License ::`, each with its SPDX identifier.
const CLASSIFIERS: [(&str, &str); 37] = [
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("OSI Approved :: Academic Free License (AFL)", "AFL-3.0"),
    ("OSI Approved :: Apache Software License", "Apache-2.0"),
    ("OSI Approved :: Blue Oak Model License (BlueOak-1.0.0)", "BlueOak-1.0.0"),
    ("OSI Approved :: Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("OSI Approved :: CMU License (MIT-CMU)", "MIT-CMU"),
    ("OSI Approved :: Common Public License", "CPL-1.0"),
    ("OSI Approved :: Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("OSI Approved :: Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("OSI Approved :: European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("OSI Approved :: European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("OSI Approved :: GNU Affero General Public License v3", "AGPL-3.0-only"),
    (
        "OSI Approved :: GNU Affero General Public License v3 or later (AGPLv3+)",
        "AGPL-3.0-or-later",
    ),
    ("OSI Approved :: GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("OSI Approved :: GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("OSI Approved :: GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("OSI Approved :: GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("OSI Approved :: GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"),
    (
        "OSI Approved :: GNU Lesser General Public License v2 or later (LGPLv2+)",
        "LGPL-2.0-or-later",
    ),
    ("OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    (
        "OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)",
        "LGPL-3.0-or-later",
    ),
    ("OSI Approved :: Historical Permission Notice and Disclaimer (HPND)", "HPND"),
    ("OSI Approved :: ISC License (ISCL)", "ISC"),
    ("OSI Approved :: MIT License", "MIT"),
    ("OSI Approved :: MIT No Attribution License (MIT-0)", "MIT-0"),
    ("OSI Approved :: Mozilla Public License 1.0 (MPL)", "MPL-1.0"),
    ("OSI Approved :: Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("OSI Approved :: Open Software License 3.0 (OSL-3.0)", "OSL-3.0"),
    ("OSI Approved :: PostgreSQL License", "PostgreSQL"),
    ("OSI Approved :: Python Software Foundation License", "PSF-2.0"),
    ("OSI Approved :: SIL Open Font License 1.1 (OFL-1.1)", "OFL-1.1"),
    ("OSI Approved :: The Unlicense (Unlicense)", "Unlicense"),
    ("OSI Approved :: Universal Permissive License (UPL)", "UPL-1.0"),
    ("OSI Approved :: W3C License", "W3C"),
    ("OSI Approved :: Zero-Clause BSD (0BSD)", "0BSD"),
    ("OSI Approved :: zlib/libpng License", "Zlib"),
];

/// Common values of `License` that are no SPDX identifier and leave no doubt, in lower case.
const SPELLINGS: [(&str, &str); 9] = [
    ("apache 2.0", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("mpl 2.0", "MPL-2.0"),
    ("new bsd license", "BSD-3-Clause"),
    ("zpl 2.0", "ZPL-2.0"),
    ("zpl 2.1", "ZPL-2.1"),
];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum License {
    /// An SPDX license expression.
    Expression(String),
    /// A license without an SPDX identifier.
    Named {
        name: String,
        /// Everything that the metadata says about it.
        text: String,
    },
    #[default]
    Unknown,
}

impl License {
    /// The license that these headers declare.
    #[must_use]
    pub fn of(headers: &[MailHeader<'_>]) -> Self {
        let field = |name: &str| headers.get_first_value(name).unwrap_or_default();
        let (expression, text) = (field("License-Expression"), lines_of(headers, "License"));
        let classifiers = headers.get_all_values("Classifier");
        let classifiers: Vec<&str> =
            classifiers.iter().filter_map(|it| it.trim().strip_prefix(CLASSIFIER)).collect();
        let declared = parsed(&expression).or_else(|| of_classifiers(&classifiers));
        if let Some(expression) = declared.or_else(|| of_text(&text)) {
            return Self::Expression(expression);
        }
        let last = |it: &&str| it.rsplit(" :: ").next().unwrap_or_default().to_owned();
        let names: Vec<String> = classifiers.iter().map(last).collect();
        [expression, text, names.join(", ")]
            .iter()
            .map(|text| text.trim())
            .find(|text| !text.is_empty() && !text.eq_ignore_ascii_case("unknown"))
            .map_or(Self::Unknown, named)
    }
}

/// The value of a field with its line breaks, and without the indentation of its lines.
fn lines_of(headers: &[MailHeader<'_>], name: &str) -> String {
    let found = headers.get_first_header(name);
    let value = found.map(|found| String::from_utf8_lossy(found.get_value_raw()).into_owned());
    value.unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

fn named(text: &str) -> License {
    let first = text.lines().next().unwrap_or_default().trim();
    let end = text.floor_char_boundary(MAX_TEXT);
    License::Named { name: first.chars().take(MAX_NAME).collect(), text: text[..end].to_owned() }
}

/// An SPDX expression in its usual spelling; `None` if the text is none.
fn parsed(text: &str) -> Option<String> {
    let text = text.trim();
    // There is no other document, and what says nothing is no license.
    let outside = ["DocumentRef-", "AdditionRef-", "NOASSERTION", "NONE"];
    let is_outside = outside.iter().any(|it| text.contains(it));
    if text.is_empty() || text.len() > MAX_EXPRESSION || is_outside {
        return None;
    }
    let text = spelled(text);
    spdx::Expression::parse(&text).ok()?;
    Some(text)
}

/// An expression with its words as SPDX spells them: their case does not matter (PEP 639).
fn spelled(text: &str) -> String {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().map(spelled_word).collect();
    words.join(" ").replace("( ", "(").replace(" )", ")")
}

fn spelled_word(word: &str) -> &str {
    let operators = ["AND", "OR", "WITH"].into_iter();
    let licenses = spdx::identifiers::LICENSES.iter().map(|it| it.name);
    let exceptions = spdx::identifiers::EXCEPTIONS.iter().map(|it| it.name);
    let mut known = operators.chain(licenses).chain(exceptions);
    known.find(|it| it.eq_ignore_ascii_case(word)).unwrap_or(word)
}

fn of_text(text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let known = SPELLINGS.iter().find(|(spelling, _)| *spelling == lower);
    known.map(|(_, id)| (*id).to_owned()).or_else(|| parsed(text))
}

/// The licenses of all classifiers; `None` if one of them leaves open which one it is. That the user may
/// choose among several, no classifier can say.
fn of_classifiers(classifiers: &[&str]) -> Option<String> {
    // A group of licenses, with one of them beside it.
    let classifiers = classifiers.iter().filter(|it| **it != "OSI Approved");
    let ids: Option<Vec<&str>> = classifiers.map(|it| id_of(it)).collect();
    let mut ids = ids?;
    ids.sort_unstable();
    ids.dedup();
    (!ids.is_empty()).then(|| ids.join(" AND "))
}

fn id_of(classifier: &str) -> Option<&'static str> {
    CLASSIFIERS.iter().find(|(name, _)| *name == classifier).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn license(text: &str) -> License {
        License::of(&mailparse::parse_headers(text.as_bytes()).unwrap().0)
    }

    fn expression(text: &str) -> License {
        License::Expression(text.to_owned())
    }

    fn name(license: License) -> String {
        match license {
            License::Named { name, .. } => name,
            other => panic!("{other:?}"),
        }
    }

    const MIT: &str = "Classifier: License :: OSI Approved :: MIT License\n";
    const BSD: &str = "Classifier: License :: OSI Approved :: BSD License\n";

    #[test]
    fn an_expression_counts_before_classifiers_and_text() {
        let fields = format!("License-Expression: Apache-2.0 OR BSD-3-Clause\n{MIT}License: ISC\n");
        assert_eq!(license(&fields), expression("Apache-2.0 OR BSD-3-Clause"));
        assert_eq!(license(&format!("{MIT}License: ISC\n")), expression("MIT"));
        assert_eq!(license("License: ISC\n"), expression("ISC"));
        let odd =
            "License-Expression: (mit  or gpl-2.0-ONLY with classpath-exception-2.0 )and isc\n";
        let usual = "(MIT OR GPL-2.0-only WITH Classpath-exception-2.0) AND ISC";
        assert_eq!(license(odd), expression(usual));
        let own = "License-Expression: LicenseRef-acme\n";
        assert_eq!(license(own), expression("LicenseRef-acme"));
    }

    #[test]
    fn several_classifiers_apply_together() {
        let apache = "Classifier: License :: OSI Approved :: Apache Software License\n";
        let both = format!("{MIT}{apache}{MIT}Classifier: License :: OSI Approved\n");
        assert_eq!(license(&both), expression("Apache-2.0 AND MIT"));
    }

    #[test]
    fn an_ambiguous_classifier_is_a_name_unless_the_text_is_an_expression() {
        assert_eq!(name(license(BSD)), "BSD License");
        assert_eq!(name(license(&format!("{MIT}{BSD}"))), "MIT License, BSD License");
        assert_eq!(license(&format!("{BSD}License: BSD-2-Clause\n")), expression("BSD-2-Clause"));
        assert_eq!(license(&format!("{BSD}License: ZPL 2.1\n")), expression("ZPL-2.1"));
        assert_eq!(name(license(&format!("{BSD}License: BSD\n"))), "BSD");
    }

    #[test]
    fn other_text_is_a_name_of_one_line() {
        let long =
            format!("License: Acme License\n        {}\n", "Do what you like. ".repeat(9999));
        match license(&long) {
            License::Named { name, text } => {
                assert!(name.starts_with("Acme License") && name.chars().count() <= MAX_NAME);
                assert!(text.len() > MAX_NAME && text.len() <= MAX_TEXT);
            }
            other => panic!("{other:?}"),
        }
        for none in ["", "License: UNKNOWN\n", "License:  \n"] {
            assert_eq!(license(none), License::Unknown, "{none}");
        }
        for odd in ["as you like", "MIT AND DocumentRef-a:LicenseRef-b", "NOASSERTION", "BSD"] {
            assert_eq!(name(license(&format!("License-Expression: {odd}\n"))), odd);
        }
    }

    #[test]
    fn every_identifier_of_the_tables_is_one_of_spdx() {
        let ids = CLASSIFIERS.iter().chain(&SPELLINGS).map(|(_, id)| *id);
        for id in ids {
            assert_eq!(spdx::license_id(id).map(|found| found.name), Some(id));
        }
    }
}
