//! Concurrent changes of a remote between two requests of a push, of `remote gc` and of `sign`.

use crate::pool::{DAY, Pool};
use crate::store::{Objects, Store};
use crate::support::noise;

const GC: &str = "remote gc team --max-age 1d";

/// A pool whose remote is a store with two eggs, pushed a hundred days ago: a small one, and one
/// that is too large to be sent twice.
pub fn stored() -> (Pool, Store) {
    let (pool, store) = (Pool::empty(), Store::new());
    pool.ok("remote remove team");
    let endpoint = format!("http://127.0.0.1:{}", store.port);
    pool.ok(&format!(
        "remote add team s3://eggs --endpoint {endpoint} --region here --key key.pub --push"
    ));
    pool.sandbox.egg_with("large", "1.0", &[("noise", &noise(2 << 20))]);
    pool.sandbox.egg("small", "1.0");
    pool.ok("add eggs");
    pool.ok("push --all");
    store.objects().age(100 * DAY);
    store.objects().log.clear();
    (pool, store)
}

/// The only blob of more than a mebibyte, or the only other one.
pub fn blob(objects: &Objects, is_large: bool) -> String {
    let of_size = |name: &String| (objects.all[name].bytes.len() > 1 << 20) == is_large;
    objects.below("v1/blobs/").into_iter().find(of_size).unwrap()
}

/// The entry of a project.
pub fn entry(objects: &Objects, project: &str) -> String {
    objects.below(&format!("v1/entries/{project}/")).remove(0)
}

#[track_caller]
pub fn assert_whole(pool: &Pool, store: &Store) {
    store.leave_alone();
    pool.ok("remote verify team --full").says(&["2 entries, 2 blobs", "no problem"]);
}

#[test]
fn a_push_writes_blob_entry_and_list_in_this_order() {
    let (pool, store) = stored();
    store.objects().all.clear();
    pool.ok("push large==1.0");
    let objects = store.objects();
    let order = ["PUT v1/blobs", "PUT v1/entries", "PUT v1/projects"].map(|it| objects.first(it));
    assert!(order.is_sorted(), "{:?}", objects.log);
    drop(objects);
    pool.ok("push small==1.0");
    assert_whole(&pool, &store);
}

#[test]
fn an_entry_has_the_length_of_the_blob_that_was_pushed() {
    let (pool, store) = stored();
    store.objects().all.clear();
    // As if another process had completed these eggs after the push has read the index.
    pool.sandbox.sql("UPDATE eggs SET blob_bytes = blob_bytes - 45");
    pool.ok("push --all");
    assert_whole(&pool, &store);
}

#[test]
fn a_gc_removes_line_entry_and_blob_in_this_order() {
    let (pool, store) = stored();
    let set = format!("v1/sets/{}", "5e".repeat(32));
    let mut objects = store.objects();
    let line = objects.all[&entry(&objects, "large")].bytes.clone();
    objects.put(&set, line);
    drop(objects);
    pool.ok(GC);
    let objects = store.objects();
    let order = ["PUT v1/projects", "PUT v1/sets", "DELETE v1/entries", "DELETE v1/blobs"];
    assert!(order.map(|it| objects.first(it)).is_sorted(), "{:?}", objects.log);
    assert_eq!(objects.below("v1/entries/").len() + objects.below("v1/blobs/").len(), 0);
    assert!(objects.below("v1/sets/").is_empty() && objects.below("v1/clock").is_empty());
}

#[test]
fn a_blob_removed_before_its_entry_is_written_is_pushed_again() {
    let (pool, store) = stored();
    let (blob, name) = {
        let objects = store.objects();
        (blob(&objects, true), entry(&objects, "large"))
    };
    store.objects().all.remove(&name);
    store.before_each({
        let blob = blob.clone();
        move |request, objects| {
            if request.starts_with("PUT v1/entries/large/") {
                objects.all.remove(&blob);
            }
        }
    });
    pool.ok("push large==1.0");
    let objects = store.objects();
    assert!(objects.all.contains_key(&blob), "{:?}", objects.log);
    drop(objects);
    assert_whole(&pool, &store);
}

#[test]
fn an_entry_written_and_removed_by_others_is_written_again() {
    let (pool, store) = stored();
    let name = entry(&store.objects(), "large");
    store.objects().all.remove(&name);
    let mut writes = 0;
    store.before_each(move |request, objects| {
        if request == format!("PUT {name}") {
            writes += 1;
            if writes == 1 {
                objects.put(&name, b"another".to_vec());
            }
        } else if request == format!("GET {name}") && writes == 1 {
            objects.all.remove(&name);
        }
    });
    pool.ok("push large==1.0").says(&["1 egg pushed"]);
    assert_whole(&pool, &store);
}

#[test]
fn a_blob_that_the_remote_has_is_not_sent_again() {
    let (pool, store) = stored();
    let name = entry(&store.objects(), "large");
    store.objects().all.remove(&name);
    pool.ok("push large==1.0");
    let objects = store.objects();
    assert!(!objects.log.iter().any(|it| it.starts_with("PUT v1/blobs")), "{:?}", objects.log);
    drop(objects);
    assert_whole(&pool, &store);
}

#[test]
fn a_blob_pushed_again_during_gc_stays() {
    let (pool, store) = stored();
    // The entries are listed for the second time just before blobs are removed.
    store.before_each(|request, objects| {
        if request == "LIST v1/entries/" {
            let blob = blob(objects, true);
            let bytes = objects.all[&blob].bytes.clone();
            objects.put(&blob, bytes);
        }
    });
    pool.ok(GC).says(&["removed 2 eggs and 1 blob,"]);
    store.leave_alone();
    pool.ok("push --all");
    assert_whole(&pool, &store);
}

#[test]
fn the_blob_of_an_entry_written_during_gc_stays() {
    let (pool, store) = stored();
    let (name, line) = {
        let objects = store.objects();
        let name = entry(&objects, "large");
        (name.clone(), objects.all[&name].bytes.clone())
    };
    store.before_each(move |request, objects| {
        if request == "LIST v1/entries/" {
            objects.put(&name, line.clone());
        }
    });
    pool.ok(GC).says(&["removed 2 eggs and 1 blob,"]);
    store.leave_alone();
    pool.ok("push --all");
    assert_whole(&pool, &store);
}

#[test]
fn an_entry_rewritten_since_the_plan_stays() {
    let (pool, store) = stored();
    let name = entry(&store.objects(), "large");
    let mut looks = 0;
    store.before_each({
        let name = name.clone();
        move |request, objects| {
            looks += usize::from(request == format!("GET {name}"));
            if looks == 2 {
                let mut bytes = objects.all[&name].bytes.clone();
                bytes.push(b'\n');
                objects.put(&name, bytes);
            }
        }
    });
    pool.ok(GC);
    let objects = store.objects();
    assert!(objects.all.contains_key(&name) && !objects.log.contains(&format!("DELETE {name}")));
    assert!(objects.all.contains_key(&blob(&objects, true)));
}

#[test]
fn a_line_added_during_gc_stays_in_its_list() {
    let (pool, store) = stored();
    let mut is_done = false;
    let list = "v1/projects/large/cp311";
    store.before_each(move |request, objects| {
        if request == format!("PUT {list}") && !is_done {
            is_done = true;
            let mut lines = objects.all[list].bytes.clone();
            lines.extend(b"{\"entry\":\"{\\\"format\\\":2}\",\"signatures\":[]}\n");
            objects.put(list, lines);
        }
    });
    pool.ok(GC);
    let objects = store.objects();
    let lines = String::from_utf8(objects.all[list].bytes.clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("format\\\":2"), "{lines}");
}

#[test]
fn an_entry_signed_by_two_keys_at_once_keeps_both_signatures() {
    let (pool, store) = stored();
    for key in ["one", "two"] {
        pool.ok(&format!("keygen {key}"));
        pool.ok(&format!("trust team {key}.pub"));
    }
    // What the other key writes, as if at the same time.
    let before = store.objects().all.clone();
    pool.run("cache", "two", "sign team", 0);
    let after = std::mem::replace(&mut store.objects().all, before);
    let mut is_done = false;
    store.before_each(move |request, objects| {
        if request.starts_with("PUT v1/entries/large/") && !is_done {
            is_done = true;
            let name = request.trim_start_matches("PUT ");
            objects.put(name, after[name].bytes.clone());
        }
    });
    pool.run("cache", "one", "sign team", 0).says(&["2 eggs signed"]);
    let objects = store.objects();
    for name in [entry(&objects, "large"), "v1/projects/large/cp311".to_owned()] {
        let line = String::from_utf8(objects.all[&name].bytes.clone()).unwrap();
        assert_eq!(line.matches("trusted comment: timestamp").count(), 3, "{name}: {line}");
    }
}

#[test]
fn ages_are_measured_by_the_clock_of_the_store() {
    let (pool, store) = stored();
    // A month behind: by the clock of this machine, everything in the store would be old.
    store.objects().clock = -30 * DAY;
    store.objects().age(60);
    let orphan = format!("v1/blobs/0b/{}", "0b".repeat(32));
    store.objects().put(&orphan, b"half".to_vec());
    pool.ok(GC).says(&["removed 0 eggs and 0 blobs", "1 unreferenced blob kept for now"]);
    assert!(store.objects().all.contains_key(&orphan));
}

#[test]
fn a_reader_makes_one_request_per_project_and_per_blob() {
    let (pool, store) = stored();
    pool.of("other-reader", "remote list");
    let endpoint = format!("http://127.0.0.1:{}", store.port);
    let add = "remote add team s3://eggs --region here --key key.pub --endpoint";
    pool.of("other-reader", &format!("{add} {endpoint}"));
    store.objects().log.clear();
    pool.of("other-reader", "materialize --into out large==1.0 --python 3.11");
    // At the same time as the list of the project: the list of withdrawn builds.
    let mut objects = store.objects();
    objects.log.retain(|request| request != "GET v1/withdrawals");
    assert_eq!(objects.log.len(), 2, "{:?}", objects.log);
    assert_eq!((objects.first("GET v1/projects"), objects.first("GET v1/blobs")), (0, 1));
}

#[test]
fn a_run_reads_the_list_of_withdrawn_builds_at_most_once() {
    let (pool, store) = stored();
    let endpoint = format!("http://127.0.0.1:{}", store.port);
    let add = "remote add team s3://eggs --region here --key key.pub --endpoint";
    pool.of("other-reader", &format!("{add} {endpoint}"));
    for (cache, line, code) in [
        ("other-reader", "pull large==1.0 gone==1.0 --python 3.11", 3),
        ("other-reader", "pull small==1.0 --python 3.11", 0),
        ("other-reader", "materialize --into out gone==1.0 --python 3.11", 3),
        ("cache", "push --all", 0),
        ("cache", "push --all", 0),
    ] {
        store.objects().log.clear();
        pool.run(cache, "key", line, code);
        let objects = store.objects();
        let reads = objects.log.iter().filter(|it| it.contains("v1/withdrawals"));
        assert_eq!(reads.collect::<Vec<_>>(), ["GET v1/withdrawals"], "{line}");
    }
    // What the cache has needs no request.
    store.objects().log.clear();
    pool.of("other-reader", "materialize --into out large==1.0");
    assert_eq!(store.objects().log, [""; 0]);
}
