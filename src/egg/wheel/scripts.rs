//! Scripts that pip generates, byte for byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::entry_points::Callable;
use super::pip::Template;

/// The longest first line that Linux reads, in bytes.
const MAX_SHEBANG: usize = 127;

/// The script of an entry point.
#[must_use]
pub fn script(template: Template, executable: &OsStr, callable: &Callable) -> Vec<u8> {
    let Callable { module, attribute } = callable;
    let name = attribute.split('.').next().unwrap_or_default();
    let mut script = shebang(executable);
    let text = match template {
        Template::Regex => format!(
            "# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom {module} import {name}\n\
             if __name__ == '__main__':\n    \
             sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    \
             sys.exit({attribute}())\n"
        ),
        Template::EndsWith => format!(
            "import sys\nfrom {module} import {name}\nif __name__ == '__main__':\n    \
             if sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]\n    \
             sys.exit({attribute}())\n"
        ),
        Template::RemoveSuffix => format!(
            "import sys\nfrom {module} import {name}\nif __name__ == '__main__':\n    \
             sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit({attribute}())\n"
        ),
    };
    script.extend_from_slice(text.as_bytes());
    script
}

/// The first lines of a script that this interpreter runs.
fn shebang(executable: &OsStr) -> Vec<u8> {
    let executable = executable.as_bytes();
    let has_space = executable.contains(&b' ');
    if !has_space && executable.len() + 3 <= MAX_SHEBANG {
        return [b"#!", executable, b"\n"].concat();
    }
    let quote: &[u8] = if has_space { b"\"" } else { b"" };
    [b"#!/bin/sh\n'''exec' ", quote, executable, quote, b" \"$0\" \"$@\"\n' '''\n"].concat()
}

/// A script that the wheel contains, with the interpreter in its first line; `None` if pip leaves it as
/// it is.
#[must_use]
pub fn fixed(script: &[u8], executable: &OsStr) -> Option<Vec<u8>> {
    if !script.starts_with(b"#!python") {
        return None;
    }
    let end = script.iter().position(|&byte| byte == b'\n').map_or(script.len(), |at| at + 1);
    Some([b"#!", executable.as_bytes(), b"\n", &script[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_spaced_interpreters_are_run_by_a_shell() {
        let first = |executable: &str| String::from_utf8(shebang(OsStr::new(executable))).unwrap();
        assert_eq!(first("/v/bin/python"), "#!/v/bin/python\n");
        assert_eq!(first("/a b"), "#!/bin/sh\n'''exec' \"/a b\" \"$0\" \"$@\"\n' '''\n");
        assert!(first(&"a".repeat(124)).starts_with("#!a"));
        assert!(first(&"a".repeat(125)).starts_with("#!/bin/sh\n'''exec' a"));
    }

    #[test]
    fn only_scripts_for_python_are_changed() {
        let fixed = |script: &str| fixed(script.as_bytes(), OsStr::new("/p"));
        assert_eq!(fixed("#!pythonw -x\r\na\n").unwrap(), b"#!/p\na\n");
        assert_eq!(fixed("#!python").unwrap(), b"#!/p\n");
        assert_eq!(fixed("#!/usr/bin/python\n"), None);
    }
}
