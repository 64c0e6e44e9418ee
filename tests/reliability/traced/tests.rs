//! Tests of the tracer: it sees every change and does what its plan says.

use nix::errno::Errno;

use super::disk::Disk;
use super::tracer::{self, Plan, Trace};
use crate::support::{EGGCACHE, Sandbox, names_in, noise, skip};

/// Runs a script in a sandbox; `None`, with a message, if processes cannot be traced here.
fn traced(sandbox: &Sandbox, script: &str, plan: Plan) -> Option<Trace> {
    if !tracer::is_permitted() {
        skip("processes cannot be traced here");
        return None;
    }
    let mut shell = sandbox.process("sh");
    shell.args(["-c", script]).env("EGGCACHE", EGGCACHE);
    Some(tracer::run(&shell, &sandbox.path(""), plan).unwrap())
}

fn assert_replays(sandbox: &Sandbox, script: &str) {
    let mut disk = Disk::of(&sandbox.path(""));
    let Some(trace) = traced(sandbox, script, Plan::Record) else { return };
    assert_eq!(trace.code, Some(0), "{}", trace.stderr);
    trace.done.iter().for_each(|effect| disk.apply(effect));
    disk.assert_is(sandbox);
}

#[test]
fn a_trace_has_everything_that_a_replay_needs() {
    let script = "set -e; mkdir -p cache/a/b out; cd cache; echo one >a/one; echo more >>a/one; \
        printf x | dd of=a/one bs=1 seek=1 conv=notrunc; cp a/one a/two; mv a/two two; \
        ln two three; ln -s a/one link; chmod 0640 three; touch -d @1000 a/one; \
        truncate -s 10000 two; echo short >a/one; fallocate -l 5000 a/b/reserved || :; \
        cat two >>a/one; mv -T a/b ../out/b; mkdir gone; rmdir gone; rm link; sync -d two";
    assert_replays(&Sandbox::new(), script);
}

#[test]
fn all_threads_are_seen() {
    let sandbox = Sandbox::new();
    for number in 0..6 {
        let noise = noise(300_000 + number);
        sandbox.egg_with(&format!("egg{number}"), "1.0", &[("noise", &noise), ("file", b"x")]);
    }
    let script = "set -e; export RAYON_NUM_THREADS=4; \"$EGGCACHE\" --cache cache add eggs; \
        \"$EGGCACHE\" --cache cache materialize --into out --all";
    assert_replays(&sandbox, script);
}

#[test]
fn a_process_that_dies_at_a_call_has_not_made_it() {
    let sandbox = Sandbox::new();
    let script = "cd out; echo 1 >one; echo 2 >two; echo 3 >three";
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let Some(trace) = traced(&sandbox, script, Plan::Kill { at: 3 }) else { return };
    assert_eq!(trace.code, None);
    assert_eq!(trace.calls.len(), 4);
    assert_eq!(names_in(&sandbox.path("out")), ["one", "two"]);
    assert_eq!(std::fs::read(sandbox.path("out/two")).unwrap(), b"");
}

#[test]
fn an_injected_fault_has_no_effect_but_its_error() {
    let sandbox = Sandbox::new();
    let plan = Plan::Fail { at: 1, errno: Errno::EDQUOT, lasts: false };
    let Some(trace) = traced(&sandbox, "mkdir one; mkdir two; mkdir three", plan) else { return };
    assert_eq!(trace.code, Some(0), "the exit code of the last mkdir");
    assert!(trace.stderr.contains("quota"), "{}", trace.stderr);
    assert!(sandbox.path("one").exists() && sandbox.path("three").exists());
    assert!(!sandbox.path("two").exists());
}

#[test]
fn only_removals_succeed_on_a_disk_that_stays_full() {
    let sandbox = Sandbox::new();
    let plan = Plan::Fail { at: 1, errno: Errno::ENOSPC, lasts: true };
    let script = "mkdir one; mkdir two; mkdir -p one; mkdir three; rmdir one";
    let Some(trace) = traced(&sandbox, script, plan) else { return };
    assert_eq!(trace.stderr.matches("No space left").count(), 2, "{}", trace.stderr);
    assert_eq!(names_in(&sandbox.path("")), ["eggs", "other"]);
}

#[test]
fn changes_elsewhere_are_not_recorded() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let script =
        format!("echo 1; echo 2 >&2; cat eggs/* </dev/null; echo 3 >{:?}", other.path("f"));
    let Some(trace) = traced(&sandbox, &script, Plan::Record) else { return };
    assert_eq!(trace.calls.len(), 0, "{:?}", trace.calls);
    assert_eq!(trace.stdout, "1\n");
    assert!(other.path("f").exists());
}
