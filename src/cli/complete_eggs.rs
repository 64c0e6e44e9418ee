//! Completion of the names of eggs, for the shells that most people have.
//!
//! clap's own scripts are made of the words of the command line alone, and what it has for values that
//! are told at run time is declared unstable. So its scripts are taken as they are, and where one would
//! offer a file in place of an egg, it asks `eggcache names`. Only names are completed: bash takes the
//! `==` before a version for a word of its own. With `--cache`, which a shell does not understand, none
//! is offered.

use std::fmt::Write;

use clap::Command;
use clap_complete::Shell;

/// The commands that take eggs, each with what the script of zsh calls them.
const COMMANDS: [(&str, &str); 4] =
    [("materialize", "*::eggs"), ("list", "::query"), ("show", ":egg"), ("pin", "*::what")];

const BASH: &str = r#"
_eggcache_eggs() {
    _eggcache "$@"
    local word command=
    if [[ "$2" == -* || " ${COMP_WORDS[*]}" == *" --cache"* ]] ; then
        return 0
    fi
    case "$3" in
        {values})
            return 0
            ;;
    esac
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}" ; do
        case "${word}" in
            {commands})
                COMPREPLY+=( $(compgen -W "$("$1" names 2>/dev/null)" -- "$2") )
                return 0
                ;;
            -*)
                ;;
            *)
                return 0
                ;;
        esac
    done
}
"#;

const ZSH: &str = r#"
_eggcache_eggs() {
    local -a eggs
    if [[ "$BUFFER" != *" --cache"* ]]; then
        eggs=( ${(f)"$(_call_program eggs eggcache names 2>/dev/null)"} )
    fi
    _describe -t eggs 'egg' eggs
}
"#;

/// The script of a shell, with the names of eggs where it can offer them.
#[must_use]
pub fn added(shell: Shell, script: String, whole: &Command) -> String {
    match shell {
        Shell::Bash => in_bash(script, whole),
        Shell::Fish => in_fish(script),
        Shell::Zsh => in_zsh(&script),
        _ => script,
    }
}

fn in_bash(script: String, whole: &Command) -> String {
    let commands = COMMANDS.map(|(command, _)| command);
    let of_commands = commands.iter().filter_map(|name| whole.find_subcommand(name));
    let arguments = of_commands.flat_map(Command::get_arguments).chain(whole.get_arguments());
    let values = arguments.filter(|it| !it.is_positional() && it.get_action().takes_values());
    let mut values: Vec<String> =
        values.filter_map(|it| Some(format!("--{}", it.get_long()?))).collect();
    values.sort_unstable();
    values.dedup();
    let added =
        BASH.replace("{values}", &values.join("|")).replace("{commands}", &commands.join("|"));
    let Some((before, last)) = script.rsplit_once("\nif [[ \"${BASH_VERSINFO") else {
        return script;
    };
    let last = last.replace("-F _eggcache ", "-F _eggcache_eggs ");
    format!("{before}{added}\nif [[ \"${{BASH_VERSINFO{last}")
}

fn in_fish(mut script: String) -> String {
    for (command, _) in COMMANDS {
        let _ = writeln!(
            script,
            "complete -c eggcache -n \"__fish_eggcache_using_subcommand {command}; \
             and not string match -q -- '* --cache*' (commandline)\" \
             -f -a \"(eggcache names 2>/dev/null)\""
        );
    }
    script
}

fn in_zsh(script: &str) -> String {
    let mut of_command = "";
    let mut added = String::with_capacity(script.len() + ZSH.len());
    for line in script.split_inclusive('\n') {
        let word = line.trim().strip_prefix('(').and_then(|it| it.strip_suffix(')'));
        of_command = word.unwrap_or(of_command);
        let is_egg = COMMANDS.iter().any(|(command, argument)| {
            let rest = line.strip_prefix('\'').and_then(|line| line.strip_prefix(argument));
            *command == of_command && rest.is_some_and(|rest| rest.starts_with([':', ' ']))
        });
        if is_egg {
            added.push_str(&line.replace(":_default'", ":_eggcache_eggs'"));
        } else if line.starts_with("_eggcache() {") {
            added.push_str(ZSH.trim_start());
            added.push('\n');
            added.push_str(line);
        } else {
            added.push_str(line);
        }
    }
    added
}
