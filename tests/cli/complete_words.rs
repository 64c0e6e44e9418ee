//! Completion of what is typed: versions after `==`, options after `-`. In real shells.

use crate::generate::{completed_by_zsh, in_shell, sorted};
use crate::support::{EGGCACHE, Sandbox, skip};

/// What bash completes a line to. It runs in a terminal, because bash splits words there by its own rules.
fn completed_by_bash(setup: &str, line: &str) -> Option<String> {
    // A key prints the line.
    let script = format!(
        r#"command -v script >/dev/null || {{ echo none; exit; }}
           cat >bashrc <<'RC'
PS1=
{setup}
. ./file
bind 'set bell-style none'
bind -x '"\C-x": printf "%s|\n" "$READLINE_LINE" >shown'
PROMPT_COMMAND='echo >ready'
RC
           wait_for() {{ for n in {{1..200}}; do [[ -s $1 ]] && break; sleep 0.05; done; }}
           {{ wait_for ready; sleep 0.1; printf '%s\t\x18' "$1"; wait_for shown; printf '\x15exit\n'; }} |
               script -qec 'bash --rcfile bashrc -i' /dev/null >/dev/null
           cat shown"#
    );
    let script = format!("set -- {}; {script}", quoted(&format!("eggcache {line}")));
    let seen = in_shell(&["bash", "--norc", "--noprofile"], "completions bash", &script)?;
    if seen == "none\n" {
        skip("there is no script, of util-linux");
        return None;
    }
    Some(seen.trim_end_matches("|\n").to_owned())
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What fish offers for the last word of a line.
fn offered_by_fish(line: &str) -> Option<String> {
    let script = format!(". ./file; complete -C {}", quoted(&format!("eggcache {line}")));
    in_shell(&["fish", "--no-config"], "completions fish", &script)
}

/// What the program answers a shell. The words are those that the shell passes.
fn answer(sandbox: &Sandbox, shell: &str, words: &[&str]) -> Vec<String> {
    let mut process = sandbox.process(EGGCACHE);
    let output = process
        .env("EGGCACHE_COMPLETE", shell)
        .env("EGGCACHE_DIR", sandbox.path("cache"))
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .args(["--", "eggcache"])
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_versions_after_two_equals_signs() {
    for (line, completed) in [
        ("show lxml==", "show lxml==1.0 "),
        ("show lxml==1", "show lxml==1.0 "),
        ("show zope.event==", "show zope.event==1.0 "),
        (
            "materialize --into out zope.event==1.0 lxml==1.",
            "materialize --into out zope.event==1.0 lxml==1.0 ",
        ),
        ("show lx", "show lxml "),
        ("show lxml==2", "show lxml==2"),
    ] {
        let Some(seen) = completed_by_bash("", line) else { return };
        assert_eq!(seen, format!("eggcache {completed}"), "{line}");
    }
}

#[test]
fn bash_completes_values_of_options_after_an_equals_sign() {
    for (line, completed) in [
        ("list --color=au", "list --color=auto "),
        ("stats --format=open", "stats --format=openmetrics "),
        ("--cache=cache show lx", "--cache=cache show lxml "),
        ("--cache=cache show lxml==", "--cache=cache show lxml==1.0 "),
        ("show --color=never lxml==", "show --color=never lxml==1.0 "),
    ] {
        let Some(seen) = completed_by_bash("", line) else { return };
        assert_eq!(seen, format!("eggcache {completed}"), "{line}");
    }
}

#[test]
fn bash_completes_versions_where_an_equals_sign_ends_no_word() {
    let setup = "COMP_WORDBREAKS=${COMP_WORDBREAKS//=}";
    let Some(seen) = completed_by_bash(setup, "show lxml==1") else { return };
    assert_eq!(seen, "eggcache show lxml==1.0 ");
}

#[test]
fn every_version_is_offered_without_the_words_that_bash_keeps() {
    let sandbox = Sandbox::new();
    for version in ["1.0", "1.1", "2.0"] {
        sandbox.egg("lxml", version);
    }
    sandbox.ok("add eggs");
    for (words, versions) in [
        (&["show", "lxml", "=="] as &[_], &["1.0", "1.1", "2.0"] as &[_]),
        (&["show", "lxml", "==", "1"], &["1.0", "1.1"]),
        // A word of its own, after a space.
        (&["materialize", "lxml", "==", ""], &["lxml"]),
        (&["show", "lxml==1"], &["lxml==1.0", "lxml==1.1"]),
        (&["list", "--sort", "=", "s"], &["size"]),
    ] {
        assert_eq!(answer(&sandbox, "bash", words), versions, "{words:?}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let offered = answer(&sandbox, shell, &["show", "lxml==1"]);
        assert_eq!(offered, ["lxml==1.0", "lxml==1.1"], "{shell}");
    }
    sandbox.ok("pin lxml==1.*");
    assert_eq!(answer(&sandbox, "bash", &["unpin", "lxml", "=="]), ["1.*"]);
}

#[test]
fn fish_completes_versions_after_two_equals_signs() {
    for (line, offered) in [("show lxml==", "lxml==1.0"), ("show zope.event==1", "zope.event==1.0")]
    {
        let Some(seen) = offered_by_fish(line) else { return };
        assert_eq!(sorted(&seen), [offered], "{line}");
    }
}

#[test]
fn options_are_offered_only_after_a_dash() {
    let sandbox = Sandbox::with_two();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let offered = |words: &[&str]| answer(&sandbox, shell, words).concat();
        for words in [&["gc", ""] as &[_], &["show", ""], &[""], &["remote", ""]] {
            let answer = answer(&sandbox, shell, words);
            assert!(answer.iter().all(|it| !it.starts_with('-')), "{shell}: {words:?}: {answer:?}");
        }
        assert!(offered(&["show", ""]).contains("foo"), "{shell}");
        assert!(offered(&["gc", "-"]).contains("--max-age"), "{shell}");
        assert!(offered(&["gc", "--max"]).contains("--max-size"), "{shell}");
        assert!(offered(&["-"]).contains("--cache"), "{shell}");
    }
}

#[test]
fn shells_offer_options_only_after_a_dash() {
    if let Some(seen) = offered_by_fish("show ") {
        assert_eq!(sorted(&seen), ["lxml", "zope-event", "zope-interface"]);
    }
    if let Some(seen) = offered_by_fish("gc --max-a") {
        assert_eq!(sorted(&seen), ["--max-age"]);
    }
    for (line, completed) in [
        // All of them begin so.
        ("list --sort ", "list --sort "),
        ("roots ", "roots "),
        ("gc --max-a", "gc --max-age "),
        ("show zope.interface ", "show zope.interface "),
    ] {
        if let Some(seen) = completed_by_bash("", line) {
            assert_eq!(seen, format!("eggcache {completed}"), "{line}");
        }
        if let Some(seen) = completed_by_zsh("compinit -u -D; . ./file", line) {
            assert_eq!(seen, format!("eggcache {completed}|\n"), "{line}");
        }
    }
}
