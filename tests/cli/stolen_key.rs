//! docs/howto/remote.md says what to do if a key was stolen. Here, builders and readers that have pulled the
//! thief's eggs follow its commands.

use std::fs;
use std::os::unix::fs::symlink;

use crate::pool::Pool;
use crate::support::{EGGCACHE, text};

/// Who runs a block of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    All,
    Builder,
    Others,
}

/// The blocks of commands of the section, each with who runs it, as the sentence before it says.
fn commands() -> Vec<(Who, String)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/howto/remote.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("### If a key was stolen\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let parts: Vec<&str> = section.split("```").collect();
    let blocks = parts.chunks_exact(2).map(|pair| {
        let before = pair[0].trim_end().rsplit("\n\n").next().unwrap();
        let who = match before {
            _ if before.starts_with("On every machine") => Who::All,
            _ if before.starts_with("On a builder") => Who::Builder,
            _ if before.starts_with("On every other machine") => Who::Others,
            _ => panic!("nobody runs the block after {before:?}"),
        };
        (who, pair[1].strip_prefix("sh\n").unwrap().to_owned())
    });
    blocks.collect()
}

/// Runs the blocks of some with a cache, in one shell.
fn follow(pool: &Pool, cache: &str, who: &[Who]) {
    follow_except(pool, cache, who, "nothing");
}

/// As [`follow`], without the lines that contain `except`.
fn follow_except(pool: &Pool, cache: &str, who: &[Who], except: &str) {
    let blocks = commands().into_iter().filter(|(by, _)| who.contains(by));
    let lines = |block: String| {
        let lines = block.lines().filter(|line| !line.contains(except)).map(str::to_owned);
        lines.collect::<Vec<_>>().join("\n")
    };
    let script: Vec<String> = blocks.map(|(_, block)| lines(block)).collect();
    assert!(!script.is_empty());
    let here = pool.sandbox.path("");
    let environment = format!(
        "set -e\nexport PATH=\"{0}bin:$PATH\" EGGCACHE_DIR=\"{0}{cache}\"\n",
        here.display()
    );
    pool.sandbox.shell(&(environment + &script.join("\n")));
}

const READERS: [&str; 2] = ["reader", "pinning"];
const BUILDERS: [&str; 2] = ["builder", "second"];

/// A pool of two builders and two readers. A thief has pushed `evil` with the key that all trust.
fn with_evil() -> Pool {
    let pool = Pool { sandbox: crate::support::Sandbox::new() };
    fs::create_dir(pool.sandbox.path("bin")).unwrap();
    symlink(EGGCACHE, pool.sandbox.path("bin/eggcache")).unwrap();
    pool.of("builder", "keygen team-2027");
    let url = pool.sandbox.path("pool").display().to_string();
    for cache in ["builder", "second", "reader", "pinning", "thief"] {
        pool.of(cache, &format!("remote add team {url} --key team-2027.pub --push"));
    }
    for (cache, name) in [("builder", "good"), ("second", "other"), ("thief", "evil")] {
        let egg = pool.sandbox.egg(name, "1.0");
        pool.of(cache, &format!("add {}", egg.display()));
        pool.run(cache, "team-2027", "push --all", 0);
    }
    pool
}

/// As [`with_evil`], and all have pulled `evil`.
fn robbed() -> Pool {
    let pool = with_evil();
    for cache in ["builder", "second", "reader", "pinning"] {
        pool.of(cache, "pull evil==1.0 good==1.0 --python 3.11");
    }
    pool.of("pinning", "pin evil");
    pool
}

fn listed(pool: &Pool, cache: &str) -> Vec<String> {
    let report = pool.of(cache, "--json list").json();
    report["eggs"].as_array().unwrap().iter().map(|egg| text(&egg["name"]).to_owned()).collect()
}

/// The projects that have an entry in the pool.
fn entries(pool: &Pool) -> Vec<String> {
    let name = |object: &String| object.split('/').nth(2).unwrap().to_owned();
    pool.objects().iter().filter(|it| it.starts_with("v1/entries/")).map(name).collect()
}

#[test]
fn a_stolen_key_is_recovered_from_as_the_page_says() {
    let pool = robbed();
    follow(&pool, "builder", &[Who::All, Who::Builder]);
    for cache in ["second", "reader", "pinning"] {
        follow(&pool, cache, &[Who::All, Who::Others]);
    }
    pool.run("second", "team-new", "push --all", 0);
    assert_eq!(entries(&pool), ["good", "other"]);
    pool.of("reader", "remote verify team --full").says(&["2 entries", "no problem"]);
    for cache in READERS {
        assert_eq!(listed(&pool, cache), [""; 0], "{cache}");
        pool.of(cache, "pull good==1.0 other==1.0 --python 3.11");
        pool.run(cache, "team-new", "pull evil==1.0 --python 3.11", 3);
    }
    for (cache, own) in BUILDERS.into_iter().zip(["good", "other"]) {
        assert_eq!(listed(&pool, cache), [own]);
    }
}

/// The stolen key was replaced before anybody noticed, so the newer key has signed `evil`, and readers never
/// saw a signature of the stolen key that they trusted.
#[test]
fn a_theft_before_a_rotation_is_recovered_from_as_the_page_says() {
    let pool = with_evil();
    pool.of("builder", "keygen team-next");
    for cache in ["builder", "second", "reader", "pinning"] {
        pool.of(cache, "trust team team-next.pub");
    }
    pool.run("builder", "team-next", "sign team", 0);
    let evil = pool.content();
    for cache in READERS {
        pool.of(cache, "trust team --remove team-2027.pub");
        pool.of(cache, "pull evil==1.0 good==1.0 --python 3.11");
    }
    pool.of("pinning", "pin evil");
    // After the rotation, a builder has pushed what only the newer key has signed.
    pool.sandbox.egg("later", "1.0");
    pool.of("second", "add eggs/later-1.0-py3.11.egg");
    pool.run("second", "team-next", "push later==1.0 --to team", 0);
    pool.of("reader", "pull later==1.0 --python 3.11");
    for cache in ["builder", "second", "reader", "pinning"] {
        pool.of(cache, "trust team --remove team-next.pub");
    }
    follow(&pool, "builder", &[Who::All, Who::Builder]);
    follow(&pool, "second", &[Who::All, Who::Others]);
    for cache in READERS {
        follow_except(&pool, cache, &[Who::All, Who::Others], "trust team --remove");
    }
    pool.run("second", "team-new", "push --all", 0);
    assert_eq!(entries(&pool), ["good", "later", "other"]);
    assert_eq!(listed(&pool, "reader"), ["later"], "the stolen key has not signed this one");
    assert_eq!(listed(&pool, "pinning"), [""; 0]);
    // A mirror serves what it had before.
    for (path, bytes) in evil {
        fs::write(path, bytes).unwrap();
    }
    for cache in READERS {
        pool.run(cache, "team-new", "pull evil==1.0 --python 3.11", 1).says(&["is not trusted"]);
    }
}

/// The order of the machines is not important: a builder that still has the thief's eggs signs none.
#[test]
fn a_builder_that_forgets_to_evict_does_not_launder() {
    let pool = robbed();
    follow(&pool, "builder", &[Who::All, Who::Builder]);
    pool.of("second", "trust team team-new.pub");
    pool.run("second", "team-new", "push --all", 0);
    assert_eq!(entries(&pool), ["good", "other"]);
}

#[test]
fn the_page_names_who_runs_each_command() {
    let who: Vec<Who> = commands().into_iter().map(|(who, _)| who).collect();
    assert_eq!(who, [Who::All, Who::All, Who::Builder, Who::Others]);
}
