//! The man page `egg-cache(5)`: the options of buildout, made from the page of the documentation that
//! describes them. So the two cannot differ.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The name of the page, and of the option that it is about.
pub const NAME: &str = "egg-cache";

const SOURCE: &str = include_str!("../../docs/reference/options.md");

/// Sections of the documentation, and their headings in the man page.
const SECTIONS: [(&str, &str); 7] = [
    ("Options of buildout", "OPTIONS"),
    ("The file of hashes", "FILE OF HASHES"),
    ("Buildouts that use uv", "BUILDOUTS THAT USE UV"),
    ("The policy: `eggcache.toml`", "POLICY: eggcache.toml"),
    ("The log of a run", "LOG"),
    ("Environment variables", "ENVIRONMENT"),
    ("Files in the cache", "FILES"),
];

const DESCRIPTION: &str = "With the option egg-cache, zc.buildout copies each egg that it builds to a cache, and \
    copies cached eggs into the eggs directory of each buildout. The Python package eggcache must be installed \
    beside zc.buildout, or as an extension of the buildout. This page describes the options, and the files and \
    environment variables that a run uses. eggcache(1) is the command that manages the cache.";

const EXAMPLE: [&str; 6] = [
    "[buildout]",
    "parts = app",
    "egg-cache = ~/.cache/eggcache",
    "egg-cache-hashes = hashes.cfg",
    "",
    "# For all buildouts, the same options belong in ~/.buildout/default.cfg.",
];

/// Names of files in parentheses are those of the documentation.
const DOCUMENTS: &str = "File names such as convert.md are those of the documentation: docs/ of the source, and \
    /usr/share/doc/eggcache/docs/ of the Debian package.";

/// The page. `date` and `version` are those of the release.
pub fn page(date: &str, version: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", [NAME, "5", date, version]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{NAME} - options of zc.buildout for its cache of eggs"))]);
    roff.control("SH", ["SYNOPSIS"]);
    verbatim(&mut roff, &["[buildout]", "egg-cache = DIR"]);
    roff.control("SH", ["DESCRIPTION"]).text([roman(DESCRIPTION)]);
    for (heading, shown) in SECTIONS {
        roff.control("SH", [shown]);
        let text = without_tests(section(heading).unwrap_or_default());
        let mut writer = Writer { roff, ..Writer::default() };
        Parser::new_ext(&text, Options::ENABLE_TABLES).for_each(|event| writer.event(event));
        roff = writer.roff;
    }
    roff.control("SH", ["EXAMPLES"]);
    verbatim(&mut roff, &EXAMPLE);
    let commands = ["doctor", "gc", "lock", "roots", "stats", "why"];
    let pages = commands.map(|command| format!("eggcache-{command}(1)"));
    roff.control("SH", ["SEE ALSO"]).text([roman(format!("eggcache(1), {}", pages.join(", ")))]);
    roff.control("PP", []).text([roman(DOCUMENTS)]);
    roff.render()
}

/// The text of a section of the documentation, without its heading.
fn section(heading: &str) -> Option<&'static str> {
    let (_, text) = SOURCE.split_once(&format!("\n## {heading}\n"))?;
    text.split("\n## ").next()
}

/// A text without the names of tests in parentheses, which are for readers of the source.
fn without_tests(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("(`") {
        let end = after.find(')').filter(|&end| names_tests(&after[..end]));
        if let Some(end) = end {
            kept.push_str(before.trim_end());
            rest = &after[end + 1..];
        } else {
            kept.push_str(before);
            kept.push_str("(`");
            rest = after;
        }
    }
    kept + rest
}

/// Whether a text, which follows a backtick, is a list of names of functions.
fn names_tests(text: &str) -> bool {
    text.split(',').all(|name| {
        let name = name.trim().trim_matches('`');
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.contains('_') && name.chars().all(is_part)
    })
}

/// Lines as they are, in a typewriter's layout.
fn verbatim(roff: &mut Roff, lines: &[&str]) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(*line)]);
    }
    roff.control("fi", []);
}

/// Writes the events of a Markdown parser as a man page.
#[derive(Default)]
struct Writer {
    roff: Roff,
    /// What is written of a line.
    line: Vec<Inline>,
    /// The text of a block of code.
    code: Option<String>,
    is_in_item: bool,
    is_in_header: bool,
    /// Whether there is something in this section before.
    has_begun: bool,
    /// The cells of a row that are written.
    cells: usize,
    /// Where a link leads.
    link: String,
}

impl Writer {
    fn event(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.line.push(roman(text.as_ref())),
            },
            Event::Code(code) => self.line.push(bold(code.as_ref())),
            Event::SoftBreak => self.line.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag) {
        match tag {
            Tag::Paragraph if !self.is_in_item => self.paragraph(),
            Tag::TableHead => (self.is_in_header, self.cells) = (true, 0),
            Tag::Item => {
                self.is_in_item = true;
                self.roff.control("IP", ["\\(bu", "2"]);
            }
            Tag::CodeBlock(_) => self.code = Some(String::new()),
            Tag::TableRow => self.cells = 0,
            Tag::TableCell if self.cells == 0 && !self.is_in_header => {
                _ = self.roff.control("TP", []);
            }
            Tag::Link { dest_url, .. } => self.link = dest_url.into_string(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.flush(),
            TagEnd::Item => {
                self.flush();
                self.is_in_item = false;
            }
            TagEnd::TableHead => self.is_in_header = false,
            TagEnd::TableCell => {
                self.cells += 1;
                if self.is_in_header { self.header_cell() } else { self.flush() }
            }
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                self.paragraph();
                self.has_begun = true;
                verbatim(&mut self.roff, &code.lines().collect::<Vec<_>>());
            }
            TagEnd::Link => {
                // A link to another section needs no more than its text.
                let file = self.link.split('#').next().and_then(|path| path.rsplit('/').next());
                if let Some(file) = file.filter(|file| !file.is_empty()) {
                    self.line.extend([roman(" ("), italic(file), roman(")")]);
                }
            }
            _ => {}
        }
    }

    /// The header of a table is left out, unless it names what its rows belong to: "key below `[gc]`".
    fn header_cell(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if self.cells == 1 && line.len() > 1 {
            line.push(roman(":"));
            self.paragraph();
            self.line = line;
            self.flush();
        }
    }

    /// Begins a paragraph. A heading does that as well.
    fn paragraph(&mut self) {
        if self.has_begun {
            self.roff.control("PP", []);
        }
    }

    /// Ends the line that is being written.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.roff.text(line);
            self.has_begun = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_in_the_documentation() {
        for (heading, _) in SECTIONS {
            assert!(section(heading).is_some_and(|text| text.len() > 100), "{heading}");
        }
    }

    #[test]
    fn names_of_tests_are_left_out() {
        for (text, kept) in [
            ("It fails (`a_test`), and\nso on (`b_test`,\n`c_test`).", "It fails, and\nso on."),
            ("uv (`installer = uv`) (see `x_y`)", "uv (`installer = uv`) (see `x_y`)"),
            ("options (`variant`)", "options (`variant`)"),
            ("no end (`a_test", "no end (`a_test"),
        ] {
            assert_eq!(without_tests(text), kept);
        }
    }

    #[test]
    fn markdown_becomes_the_macros_of_a_man_page() {
        let mut writer = Writer::default();
        let text = "One\nline of [`a b`](../x/y.md#z), [here](#z).\n\n- an item\n\n```cfg\na  = 1\n```\n\n\
            | option | meaning |\n|---|---|\n| `c-d` | What it does. |\n\n\
            | below `e` | meaning |\n|---|---|\n| f | Another. |\n";
        Parser::new_ext(text, Options::ENABLE_TABLES).for_each(|event| writer.event(event));
        let expected = "One line of \\fBa b\\fR (\\fIy.md\\fR), here.\n.IP \\(bu 2\nan item\n\
            .PP\n.nf\na  = 1\n.fi\n.TP\n\\fBc\\-d\\fR\nWhat it does.\n\
            .PP\nbelow \\fBe\\fR:\n.TP\nf\nAnother.\n";
        assert_eq!(writer.roff.to_roff(), expected);
    }
}
