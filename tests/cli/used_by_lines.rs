//! `used-by --format`: a line for each buildout and each pin that keeps an egg.

use crate::serve::Server;
use crate::support::{Sandbox, host, text};

/// The cached eggs `foo` and `bar`. A buildout uses `foo`, and its folder is returned.
fn used() -> (Sandbox, String) {
    let sandbox = Sandbox::with_two();
    let digest = sandbox.digest("foo");
    let file_name = text(&sandbox.json("show foo")["file_name"]).to_owned();
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digest);
    server.register(&sandbox, &[&file_name]);
    server.close();
    let app = sandbox.path("app").canonicalize().unwrap().display().to_string();
    (sandbox, app)
}

#[test]
fn each_buildout_and_each_pin_is_a_line() {
    let (sandbox, app) = used();
    sandbox.ok("pin foo==1.0 --note May");
    sandbox.ok("pin f*");
    let out =
        sandbox.ok("used-by foo --format {name}=={version}\\t{kind}\\t{user}\\t{state}\\t{note}");
    let expected = [
        format!("foo==1.0\tbuildout\t{app}\tlive\t"),
        "foo==1.0\tpin\tf*\t\t".to_owned(),
        "foo==1.0\tpin\tfoo==1.0\t\tMay".to_owned(),
    ];
    assert_eq!(out.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(out.stderr, "");
    // An unused egg has no line.
    assert_eq!(sandbox.ok("used-by bar --format {user}").stdout, "");
    assert_eq!(sandbox.ok("used-by bar --format {user}").stderr, "");
}

#[test]
fn an_egg_that_the_cache_has_no_more_has_lines_without_a_digest() {
    let (sandbox, app) = used();
    let all = "{name}|{project}|{version}|{python}|{platform}|{file_name}|{digest}|{user}";
    let digest = sandbox.digest("foo");
    let line = |digest: &str| format!("foo|foo|1.0|cp311||foo-1.0-py3.11.egg|{digest}|{app}\n");
    assert_eq!(sandbox.ok(&format!("used-by foo --format {all}")).stdout, line(&digest));
    sandbox.ok("remove foo --force");
    // The file name of an egg does not name the implementation of Python.
    let gone = line("").replace("cp311", "");
    assert_eq!(sandbox.ok(&format!("used-by foo --format {all}")).stdout, gone);
}

#[test]
fn a_tab_of_a_template_is_a_tab_and_a_value_stays_one_field() {
    let (sandbox, _) = used();
    assert_eq!(sandbox.ok("list foo --format {name}\\t{version}").stdout, "foo\t1.0\n");
    assert!(sandbox.eggcache("pin foo --note").arg("a\tb\nc").status().unwrap().success());
    let out = sandbox.ok("used-by foo --format {kind}\\t{note}");
    assert_eq!(out.stdout, "buildout\t\npin\ta\\tb\\nc\n");
}

#[test]
fn json_is_the_same_report_with_a_template() {
    let (sandbox, _) = used();
    assert_eq!(sandbox.json("used-by foo --format {user}"), sandbox.json("used-by foo"));
}

#[test]
fn a_template_with_an_unknown_field_is_a_usage_error() {
    let sandbox = Sandbox::with_two();
    sandbox.fails("used-by foo --format {egg}", 2).says(&["no field {egg}: one of name, project"]);
    sandbox.fails("used-by foo --format {blob_bytes}", 2).says(&["no field {blob_bytes}"]);
}
