//! Settings of remotes that cannot work: an error names them, and shows no secret.

use serde_json::Value;

use crate::foreign_remotes::Store;
use crate::support::{EGGCACHE, Output, Sandbox, write};

const SECRET: &str = "hunter2";

/// The output of a command that fails with these variables.
fn refused(sandbox: &Sandbox, line: &str, variables: &[(&str, &str)], code: i32) -> Output {
    let mut process = sandbox.process(EGGCACHE);
    process.args(["--cache", "cache"]).args(line.split_whitespace());
    process.envs(variables.iter().copied());
    Output::of(&assert_cmd::Command::from_std(process).assert().code(code))
}

#[track_caller]
fn assert_says(output: &Output, says: &str) {
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(all.contains(says), "{all}");
    assert!(!all.contains("panicked") && !all.contains(SECRET), "{all}");
}

#[test]
fn a_line_break_in_a_credential_is_an_error_that_hides_it() {
    for (url, variables) in [
        ("s3://eggs --region here", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"][..]),
        ("s3://eggs --region here", &["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"]),
        (
            "s3://eggs --region here",
            &["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
        ),
        ("s3://eggs", &["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        ("az://eggs", &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"]),
        ("az://eggs", &["AZURE_STORAGE_TOKEN", "AZURE_STORAGE_ACCOUNT_NAME"]),
    ] {
        let sandbox = Sandbox::new();
        sandbox.ok("keygen key");
        let endpoint = "--endpoint http://127.0.0.1:9";
        sandbox.ok(&format!("remote add team {url} {endpoint} --key key.pub"));
        for end in ["\n", "\r", "\u{1}", "\u{7f}", "\u{e9}"] {
            let value = format!("{SECRET}{end}more");
            let given: Vec<(&str, &str)> = variables
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, if at == 0 { value.as_str() } else { "plain" }))
                .collect();
            for line in ["pull foo==1.0 --python 3.11", "remote verify team"] {
                let output = refused(&sandbox, line, &given, 1);
                let says = format!("remote team: the environment variable {}", variables[0]);
                assert_says(&output, &says);
            }
        }
    }
}

#[test]
fn an_address_that_means_something_else_is_refused() {
    let sandbox = Sandbox::new();
    for (url, says) in [
        ("file://host/eggs", "is not a folder of this machine"),
        ("file:eggs", "is not a folder of this machine"),
        ("s3:eggs", "names no bucket"),
        ("gs:///eggs", "names no bucket"),
    ] {
        let output = refused(&sandbox, &format!("remote add team {url}"), &[], 2);
        assert_says(&output, says);
    }
    let mut process = sandbox.eggcache("remote add team");
    process.arg(format!("https://host/{SECRET}\nmore"));
    let output = Output::of(&assert_cmd::Command::from_std(process).assert().code(2));
    assert_says(&output, "has a line break");
    let mut process = sandbox.eggcache("remote add team s3://eggs --region");
    process.arg("here\nthere");
    let output = Output::of(&assert_cmd::Command::from_std(process).assert().code(2));
    assert_says(&output, "--region has a control character");
}

#[test]
fn a_secret_that_somebody_wrote_into_an_address_is_never_printed() {
    let store = Store::start();
    let local = format!("127.0.0.1:{}/pool", store.port);
    let invalid = "an address is invalid: ";
    for (field, url, says) in [
        ("url", format!("http://me:{SECRET}@{local}?token={SECRET}"), local.as_str()),
        ("endpoint", format!("http://me:{SECRET}@{local}?token={SECRET}"), local.as_str()),
        ("url", format!("https://me:{SECRET}@no host/"), invalid),
        ("endpoint", format!("{SECRET}@host"), invalid),
    ] {
        let sandbox = Sandbox::new();
        sandbox.ok("keygen key");
        sandbox.ok(&format!("{} --region here --key key.pub", store.remote("team")));
        let path = sandbox.path("cache/remotes.json");
        let mut remotes: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        remotes[0][field] = url.into();
        if field == "url" {
            remotes[0].as_object_mut().unwrap().remove("endpoint");
        }
        write(&path, remotes.to_string().as_bytes());
        let mut all = String::new();
        for line in ["remote list", "--json remote list", "stats", "doctor", "list"] {
            let mut process = sandbox.eggcache(line);
            process.env("EGGCACHE_LOG", sandbox.path("log"));
            let output = process.output().unwrap();
            all += &String::from_utf8_lossy(&output.stdout);
            all += &String::from_utf8_lossy(&output.stderr);
        }
        all += &std::fs::read_to_string(sandbox.path("log")).unwrap();
        assert!(all.contains(says) && !all.contains(SECRET), "{all}");
    }
}
