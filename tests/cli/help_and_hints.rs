//! Help in groups, and hints about other ways to name eggs.

use crate::support::{EGGCACHE, Sandbox, write};

#[test]
fn help_lists_commands_in_groups() {
    let sandbox = Sandbox::new();
    let help = sandbox.ok("--help").stdout;
    assert_eq!(sandbox.ok("help").stdout, help);
    assert_eq!(sandbox.ok("-h").stdout, help);
    let alone = std::process::Command::new(EGGCACHE).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&alone.stderr), help, "without arguments");
    assert_eq!(alone.status.code(), Some(2));
    for line in ["Commands:", " Decide what stays:", "  gc           Evict eggs", "Global options:"]
    {
        assert!(help.contains(line), "{line}: {help}");
    }
    assert_eq!(help.matches("\n  gc ").count(), 1, "{help}");
    assert!(!help.contains("serve"), "{help}");
    assert!(sandbox.ok("help gc").stdout.contains("eggcache gc [OPTIONS]"));
    assert_eq!(sandbox.ok("help gc").stdout, sandbox.ok("gc --help").stdout);
    assert_eq!(sandbox.ok("help remote add").stdout, sandbox.ok("remote add --help").stdout);
    sandbox.fails("help gcc", 2);
}

#[test]
fn a_file_that_is_named_as_an_egg_gets_a_hint() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("requirements.txt"), b"foo==1.0\n");
    let hint = "hint: --requirements requirements.txt names the eggs that this file pins";
    sandbox.fails("materialize --into out requirements.txt", 3).says(&[hint]);
    sandbox.fails("materialize --into out foo requirements.txt --preflight", 3);
    sandbox.fails("materialize --into out all", 3).says(&["hint: --all names every egg"]);
    // Other commands have no such options.
    let out = sandbox.fails("show requirements.txt", 3);
    assert!(!out.stderr.contains("--requirements"), "{}", out.stderr);
    sandbox.ok("materialize --into out --requirements requirements.txt");
}

#[test]
fn versions_of_a_buildout_name_eggs() {
    let sandbox = Sandbox::with_two();
    let pins =
        b"[buildout]\nversions = versions\n\n[versions]\nfoo = 1.0\n# why\nBAR = 2.0\nnone =\n";
    write(&sandbox.path("versions.cfg"), pins);
    sandbox.ok("materialize --into out --requirements versions.cfg").says(&["2 eggs copied"]);
    write(&sandbox.path("versions.cfg"), b"[versions]\nfoo = >=1.0\n");
    let out = sandbox.fails("materialize --into out --requirements versions.cfg", 2);
    out.says(&["versions.cfg, line 2: `foo = >=1.0` is not one version"]);
    write(&sandbox.path("versions.cfg"), b"[buildout]\nextends = other.cfg\n");
    let out = sandbox.fails("materialize --into out --requirements versions.cfg", 2);
    out.says(&["it has no section [versions]"]);
}
