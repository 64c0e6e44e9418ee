//! Shells accept the completions, and `man` displays the man pages.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{EGGCACHE, Sandbox, files_in, names_in, skip};

/// Runs a script in a shell, with the completions in the file `file`; `None`, with a message, if
/// that shell is not installed.
pub fn in_shell(shell: &[&str], completions: &str, script: &str) -> Option<String> {
    let sandbox = Sandbox::new();
    for name in ["zope.interface", "zope.event", "lxml"] {
        sandbox.egg(name, "1.0");
    }
    sandbox.ok("add eggs");
    std::fs::write(sandbox.path("file"), sandbox.ok(completions).stdout).unwrap();
    let mut process = sandbox.process(shell[0]);
    let program = Path::new(EGGCACHE).parent().unwrap().display();
    process
        .env("PATH", format!("{program}:{}", std::env::var("PATH").unwrap_or_default()))
        .env("EGGCACHE_DIR", sandbox.path("cache"));
    let Ok(Output { status, stdout, stderr }) =
        process.args(&shell[1..]).arg("-c").arg(script).env("TERM", "dumb").output()
    else {
        skip(&format!("there is no {}", shell[0]));
        return None;
    };
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    Some(String::from_utf8(stdout).unwrap())
}

pub fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.lines().filter_map(|it| it.split('\t').next()).collect();
    words.sort_unstable();
    words
}

/// The completions that bash offers for the last word of a line.
fn offered_by_bash(line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let script = format!(
        ". ./file; COMP_WORDS=({}); COMP_CWORD={last}; COMP_LINE='{line}'; COMP_POINT={}; \
         [[ $(complete -p eggcache) =~ ' -F '([a-z_]+) ]]; ${{BASH_REMATCH[1]}} eggcache {} {}; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        line.len(),
        words[last],
        words[last - 1],
    );
    in_shell(&["bash", "--norc", "--noprofile"], "completions bash", &script).unwrap_or_default()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(sorted(&offered_by_bash("eggcache ma")), ["man", "materialize"]);
    assert_eq!(sorted(&offered_by_bash("eggcache gc --max")), ["--max-age", "--max-size"]);
    let shells = offered_by_bash("eggcache completions ");
    assert!(sorted(&shells).contains(&"fish"), "{shells}");
}

/// Lines, and the names of eggs to offer for their last words.
const EGGS: [(&str, &[&str]); 11] = [
    ("show zop", &["zope-event", "zope-interface"]),
    ("show zope.i", &["zope.interface"]),
    ("why Zope_Ev", &["Zope_Event"]),
    ("show --files l", &["lxml"]),
    ("materialize --into out lxml zope-e", &["zope-event"]),
    ("--json list lx", &["lxml"]),
    ("pin lx", &["lxml"]),
    ("show --python lx", &[]),
    ("gc lx", &[]),
    ("--cache other show lx", &[]),
    ("--cache cache show lx", &["lxml"]),
];

#[test]
fn bash_completes_the_names_of_eggs() {
    for (line, names) in EGGS {
        let offered = offered_by_bash(&format!("eggcache {line}"));
        let offered: Vec<&str> = sorted(&offered).into_iter().filter(|it| !it.is_empty()).collect();
        assert_eq!(offered, names, "{line}");
    }
}

#[test]
fn fish_completes_the_names_of_eggs() {
    for (line, names) in EGGS {
        let script = format!(". ./file; complete -C 'eggcache {line}'");
        if let Some(offered) = in_shell(&["fish", "--no-config"], "completions fish", &script) {
            assert_eq!(sorted(&offered), names, "{line}");
        }
    }
}

#[test]
fn zsh_completes_the_names_of_eggs() {
    for (line, completed) in [
        ("show zop", "show zope-"),
        ("show --files l", "show --files lxml "),
        ("materialize --into out lxml zope-e", "materialize --into out lxml zope-event "),
        ("--json list lx", "--json list lxml "),
        ("show zope.in", "show zope.interface "),
        ("show lxml==", "show lxml==1.0 "),
        ("pin lx", "pin lxml "),
        ("show --python lx", "show --python lx"),
        ("gc lx", "gc lx"),
        ("--cache other show lx", "--cache other show lx"),
    ] {
        let load = "compinit -u -D; . ./file";
        let Some(seen) = completed_by_zsh(load, line) else { return };
        assert_eq!(seen, format!("eggcache {completed}|\n"), "{line}");
    }
}

/// What zsh completes a line to, after the commands of `load`.
pub fn completed_by_zsh(load: &str, line: &str) -> Option<String> {
    // zsh completes only in a terminal. A key prints the line.
    let script = format!(
        r#"zmodload zsh/zpty
           print -r -- 'autoload -U compinit; {load}
           show() {{ print -r -- "$BUFFER|" >shown }}; zle -N show; bindkey "^X" show
           zle-line-init() {{ print >ready }}; zle -N zle-line-init' >.zshrc
           zpty terminal zsh -d -i
           for n in {{1..200}}; do [[ -s ready ]] && break; sleep 0.05; done
           zpty -w -n terminal 'eggcache {line}'$'\t\x18'
           for n in {{1..200}}; do [[ -s shown ]] && break; sleep 0.05; done
           cat shown; zpty -d terminal"#
    );
    in_shell(&["zsh", "-f"], "completions zsh", &script)
}

#[test]
fn zsh_loads_completions_at_first_use() {
    // As packages install them: the first completion loads the file, and must still complete.
    let load =
        "mkdir functions; cp file functions/_eggcache; fpath=(./functions $fpath); compinit -u -D";
    let Some(seen) = completed_by_zsh(load, "show lx") else { return };
    assert_eq!(seen, "eggcache show lxml |\n");
}

#[test]
fn remotes_pins_and_buildouts_are_completed() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("pin foo");
    sandbox.ok("pin zope.*");
    sandbox.ok(&format!("remote add team {} --push", sandbox.path("pool").display()));
    let offered = |words: &str| {
        let mut process = sandbox.process(EGGCACHE);
        let words: Vec<&str> = words.split(' ').collect();
        let last = words.len();
        let output = process
            .env("EGGCACHE_COMPLETE", "zsh")
            .env("EGGCACHE_DIR", sandbox.path("cache"))
            .env("_CLAP_COMPLETE_INDEX", last.to_string())
            .env("_CLAP_IFS", "\n")
            .args(["--", "eggcache"])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered("unpin z"), ["zope.*"]);
    assert_eq!(offered("unpin f"), ["foo"]);
    for line in
        ["remote remove te", "push --to te", "pull --from te", "remote verify te", "trust te"]
    {
        assert_eq!(offered(line), ["team"], "{line}");
    }
    assert_eq!(offered("show foo==").len(), 1);
    assert_eq!(offered("remote withdraw team fo"), ["foo"]);
    let app = sandbox.path("app");
    let mut server = crate::serve::Server::open(&sandbox, &crate::support::host());
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    server.register(&sandbox, &[]);
    server.close();
    let app = app.canonicalize().unwrap().display().to_string();
    assert_eq!(offered("roots --forget /"), [app]);
    sandbox.ok("keygen key");
    sandbox.ok("trust team key.pub");
    let id = &sandbox.json("remote list")["remotes"][0]["key_ids"][0];
    let id = id.as_str().unwrap();
    for line in ["trust team --remove", "gc --signed-by", "remote gc team --signed-by"] {
        assert_eq!(offered(&format!("{line} {}", &id[..4])), [id], "{line}");
        assert!(offered(&format!("{line} ke")).contains(&"key.pub".to_owned()), "{line}");
    }
}

#[test]
fn bash_completes_commands_below_a_command() {
    let offered = offered_by_bash("eggcache remote ");
    let offered = sorted(&offered);
    for word in ["add", "gc", "list", "remove", "verify"] {
        assert!(offered.contains(&word), "{word}: {offered:?}");
    }
    assert!(sorted(&offered_by_bash("eggcache remote gc --keep")).contains(&"--keep-versions"));
}

#[test]
fn bash_does_not_offer_internal_commands() {
    let offered = offered_by_bash("eggcache ");
    assert!(!sorted(&offered).contains(&"serve"), "{offered}");
    assert_eq!(offered_by_bash("eggcache ser"), "\n");
}

#[test]
fn completion_creates_no_cache_and_prints_no_error() {
    let sandbox = Sandbox::new();
    let complete = |shell: &str| {
        let mut process = sandbox.process(EGGCACHE);
        process.args(["--", "eggcache", "--cache", "cache", "show", "lx"]);
        process.env("EGGCACHE_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "4");
        let Output { stdout, stderr, .. } = process.output().unwrap();
        assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    };
    assert_eq!(complete("bash"), "");
    assert!(!sandbox.path("cache").exists());
    sandbox.added("lxml", "1.0");
    assert_eq!(complete("bash"), "lxml");
    assert_eq!(complete("no-such-shell"), "");
    std::fs::write(sandbox.path("cache/index.sqlite"), "damaged").unwrap();
    assert_eq!(complete("bash"), "");
}

#[test]
fn fish_completes_commands() {
    let script = ". ./file; complete -C 'eggcache ma'";
    if let Some(offered) = in_shell(&["fish", "--no-config"], "completions fish", script) {
        assert_eq!(sorted(&offered), ["man", "materialize"]);
    }
}

#[test]
fn zsh_accepts_the_completions() {
    let script = "autoload -U compinit; compinit -D; . ./file; print $_comps[eggcache]";
    if let Some(function) = in_shell(&["zsh", "-f"], "completions zsh", script) {
        assert_eq!(function, "_clap_dynamic_completer_eggcache\n");
    }
}

#[test]
fn completions_exist_for_every_offered_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = sandbox.ok(&format!("completions {shell}")).stdout;
        assert!(script.contains("EGGCACHE_COMPLETE"), "{shell}: {script}");
        assert_eq!(sandbox.json(&format!("completions {shell}"))["script"], script);
    }
    sandbox.fails("completions sh", 2);
    assert!(!sandbox.path("cache").exists());
}

/// The commands in the help of a command and of its subcommands, each with its parent commands.
fn commands_of(sandbox: &Sandbox, words: &str) -> Vec<String> {
    let help = sandbox.ok(&format!("{words} --help")).stdout;
    let Some((_, commands)) = help.split_once("Commands:\n") else { return Vec::new() };
    let commands = commands.split_once("\n\n").unwrap().0;
    // Descriptions may continue on further lines.
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = commands.lines().filter(is_name).map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != Some("help"));
    let names = names.map(|name| format!("{words} {}", name.unwrap()).trim().to_owned());
    names.flat_map(|name| [commands_of(sandbox, &name), vec![name]].concat()).collect()
}

#[test]
fn every_command_has_a_man_page() {
    let sandbox = Sandbox::new();
    sandbox.ok("man --out share").says(&["man pages to share"]);
    let pages = names_in(&sandbox.path("share/man1"));
    let commands = commands_of(&sandbox, "");
    assert!(commands.contains(&"remote add".to_owned()), "{commands:?}");
    let pages_of = commands.iter().map(|it| format!("eggcache-{}.1", it.replace(' ', "-")));
    let mut wanted: Vec<String> = pages_of.chain(["eggcache.1".to_owned()]).collect();
    wanted.sort();
    assert_eq!(pages, wanted);
    let read = |name: &str| std::fs::read_to_string(sandbox.path("share/man1").join(name)).unwrap();
    assert_eq!(sandbox.ok("man").stdout, read("eggcache.1"));
    for part in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        assert!(read("eggcache.1").contains(part), "{part}");
    }
    let nested = read("eggcache-remote-add.1");
    assert!(nested.contains("eggcache\\-remote(1)") || nested.contains("eggcache-remote(1)"));
}

#[test]
fn man_pages_are_shown_without_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.ok("man --out man");
    for page in ["man1", "man5"].map(|it| files_in(&sandbox.path("man").join(it))).concat() {
        let page = page.display().to_string();
        let mandoc = ["-Tlint", "-W", "warning", &page];
        let man = ["--warnings=all", "-l", "-Tutf8", &page];
        for (program, words) in [("mandoc", mandoc.as_slice()), ("man", &man)] {
            let mut process: Command = sandbox.process(program);
            let process = process.args(words);
            let Ok(Output { status, stdout, stderr }) = process.env("MANPAGER", "cat").output()
            else {
                skip(&format!("there is no {program}"));
                continue;
            };
            let said = String::from_utf8_lossy(&stderr);
            assert!(status.success() && said.is_empty(), "{page}: {said}");
            // mandoc prints its findings, man the page itself.
            assert_eq!(stdout.is_empty(), program == "mandoc", "{page}");
        }
    }
}
