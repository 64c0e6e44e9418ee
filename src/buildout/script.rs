//! The references in a text file of a buildout: a script in `bin/`, or a configuration file.
//!
//! The text is read, never run. Buildout writes the eggs of a script as a list that is put before
//! `sys.path`: absolute paths or, with `relative-paths = true`, paths below the buildout.

use std::collections::BTreeSet;

/// Characters that end a path without quotes.
const END: &[char] = &[
    '"', '\'', '`', ',', ';', ':', '(', ')', '[', ']', '{', '}', '<', '>', '|', '&', '$', '*', '\\',
];

/// The references in one text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The program in its first line, with arguments.
    pub interpreter: Option<String>,
    /// The entries that are put before `sys.path`.
    pub imports: Vec<Import>,
    /// Other absolute paths.
    pub paths: BTreeSet<String>,
}

/// One entry of the list that is put before `sys.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    Absolute(String),
    /// Relative to the folder this many levels above that of the script.
    Relative {
        levels: usize,
        path: String,
    },
}

impl Script {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        let interpreter = interpreter(text);
        let body = if first.starts_with("#!") { &text[first.len()..] } else { text };
        let (before, list, after) = import_list(body);
        let is_parent = |line: &&str| line.trim() == "base = os.path.dirname(base)";
        let levels = before.lines().filter(is_parent).count();
        let imports = literals(list)
            .into_iter()
            .filter_map(|Literal { text, is_below_base }| match text {
                path if is_below_base => Some(Import::Relative { levels, path }),
                path if path.starts_with('/') => Some(Import::Absolute(path)),
                _ => None,
            })
            .collect();
        let paths = absolute_paths(before).chain(absolute_paths(after)).map(str::to_owned);
        Self { interpreter, imports, paths: paths.collect() }
    }
}

/// The program that the kernel starts for a script. If its path is too long for that, the first line
/// is the shell's and the second line makes the shell start the program.
fn interpreter(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let words = lines.next()?.strip_prefix("#!")?.trim();
    let in_shell = lines.next().and_then(|line| line.trim().strip_prefix("'''exec' "));
    let words = match in_shell {
        Some(rest) if words == "/bin/sh" => rest.split(" \"$0\"").next()?.trim().trim_matches('"'),
        _ => words,
    };
    Some(words.to_owned()).filter(|words| !words.is_empty())
}

/// The text before, in and after the list that is put before `sys.path`.
fn import_list(text: &str) -> (&str, &str, &str) {
    let begin = text.find("sys.path[0:0]").and_then(|at| {
        let rest = &text[at + "sys.path[0:0]".len()..];
        Some(text.len() - rest.len() + rest.find('[')? + 1)
    });
    let Some(begin) = begin else { return (text, "", "") };
    let mut quote = None;
    let mut escaped = false;
    let end = text[begin..].char_indices().find_map(|(at, c)| {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ']') => return Some(begin + at),
            _ => {}
        }
        None
    });
    let end = end.unwrap_or(text.len());
    (&text[..begin], &text[begin..end], &text[end..])
}

struct Literal {
    text: String,
    /// Whether the script joins it to the folder of the buildout.
    is_below_base: bool,
}

/// The string literals of a Python expression.
fn literals(text: &str) -> Vec<Literal> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(at);
        let is_below_base = before.trim_end().ends_with("join(base,");
        let mut characters = quoted.char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        let mut literal = String::new();
        let mut end = quoted.len();
        while let Some((at, c)) = characters.next() {
            if Some(c) == quote {
                end = at + 1;
                break;
            }
            let c = if c == '\\' { characters.next().map_or(c, |(_, c)| c) } else { c };
            literal.push(c);
        }
        found.push(Literal { text: literal, is_below_base });
        rest = &quoted[end..];
    }
    found
}

/// The absolute paths in a text: words that begin with `/`. A path in quotes ends with the quotes.
pub fn absolute_paths(text: &str) -> impl Iterator<Item = &str> {
    let mut previous = '\n';
    let mut end = 0;
    text.char_indices().filter_map(move |(at, c)| {
        let before = std::mem::replace(&mut previous, c);
        if c != '/' || at < end {
            return None;
        }
        let is_quote = before == '"' || before == '\'';
        if !is_quote && !before.is_whitespace() && !"=(,:[>".contains(before) {
            return None;
        }
        let rest = &text[at..];
        let length = if is_quote {
            rest.find([before, '\n']).unwrap_or(rest.len())
        } else {
            rest.find(|c: char| c.is_whitespace() || END.contains(&c)).unwrap_or(rest.len())
        };
        end = at + length;
        let path = rest[..length].trim_end_matches('/');
        // Not the root folder, the rest of a URL, or a comment in C.
        let is_path = path.len() > 1 && !path.starts_with("//") && !path.starts_with("/*");
        is_path.then_some(path)
    })
}

/// The file names of eggs in a text.
pub fn egg_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || c == '/' || END.contains(&c) || c == '=');
    words.filter(|word| word.ends_with(".egg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<&str> {
        absolute_paths(text).collect()
    }

    #[test]
    fn a_script_has_an_interpreter_imports_and_paths() {
        let script = Script::parse(
            "#!/venv/bin/python -s\n\nimport sys\nsys.path[0:0] = [\n  '/app/eggs/a-1.egg',\n  \
             \"/app/it's [here]/b.egg\",\n  '/app/it\\'s/c.egg',\n  ]\n\nimport a\n\n\
             if __name__ == '__main__':\n    sys.exit(a.main('/app/etc/a.conf', '/'))\n",
        );
        assert_eq!(script.interpreter.as_deref(), Some("/venv/bin/python -s"));
        let imports = ["/app/eggs/a-1.egg", "/app/it's [here]/b.egg", "/app/it's/c.egg"];
        assert_eq!(script.imports, imports.map(|path| Import::Absolute(path.into())));
        assert_eq!(script.paths, BTreeSet::from(["/app/etc/a.conf".to_owned()]));
    }

    #[test]
    fn relative_imports_count_the_levels_to_the_buildout() {
        let script = Script::parse(
            "#!/venv/bin/python\n\nimport os\n\njoin = os.path.join\n\
             base = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))\n\
             base = os.path.dirname(base)\n\nimport sys\nsys.path[0:0] = [\n  \
             join(base, 'eggs/a-1.egg'),\n  '/srv/b-1.egg',\n  ]\n",
        );
        let a = Import::Relative { levels: 1, path: "eggs/a-1.egg".into() };
        assert_eq!(script.imports, [a, Import::Absolute("/srv/b-1.egg".into())]);
    }

    #[test]
    fn a_long_interpreter_path_is_in_the_second_line() {
        let text = "#!/bin/sh\n'''exec' /very/long/bin/python \"$0\" \"$@\"\n' '''\nimport sys\n";
        assert_eq!(Script::parse(text).interpreter.as_deref(), Some("/very/long/bin/python"));
        assert_eq!(Script::parse("#!/bin/sh\necho\n").interpreter.as_deref(), Some("/bin/sh"));
        assert_eq!(Script::parse("import os\n").interpreter, None);
    }

    #[test]
    fn absolute_paths_begin_where_a_word_begins() {
        assert_eq!(paths("A=/a/b:/c d ('/e f', \"/g\")"), ["/a/b", "/c", "/e f", "/g"]);
        assert_eq!(paths("<import> /x/y.conf</import>"), ["/x/y.conf"]);
        assert_eq!(paths("key = /a/b/\n\t/c"), ["/a/b", "/c"]);
        assert_eq!(paths("http://host/a a/b 1/2 // /* */ '/' ${x}/y '//h'"), [""; 0]);
        assert_eq!(paths("url = file:///tmp/x"), [""; 0]);
        assert_eq!(paths("é=/é/ü"), ["/é/ü"]);
    }

    #[test]
    fn egg_names_are_found_anywhere() {
        let text = "['/a/b-1-py3.egg', '/x/c-2.egg/d'] = e-3.egg zc.recipe.eggs\n";
        let names: Vec<&str> = egg_names(text).collect();
        assert_eq!(names, ["b-1-py3.egg", "c-2.egg", "e-3.egg"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n|'|\\\\|sys.path\\[0:0\\] = \\[){0,40}") {
            let _ = (Script::parse(&text), egg_names(&text).count());
        }
    }
}
