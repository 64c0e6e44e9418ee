//! The blob of an egg that is pushed while `remote gc` removes it: whichever request comes first, the
//! egg ends complete.

use std::sync::mpsc;

use crate::pool::DAY;
use crate::remote_races::{assert_whole, blob, entry, stored};

#[test]
fn a_small_blob_removed_before_its_entry_is_written_is_pushed_again() {
    let (pool, store) = stored();
    let name = entry(&store.objects(), "small");
    let blob = blob(&store.objects(), false);
    store.objects().all.remove(&name);
    store.before_each(move |request, objects| {
        if *request == format!("PUT {name}") {
            objects.all.remove(&blob);
        }
    });
    pool.ok("push small==1.0").says(&["1 egg pushed"]);
    assert_whole(&pool, &store);
}

#[test]
fn a_small_blob_that_exists_becomes_young_before_its_entry_is_written() {
    let (pool, store) = stored();
    let name = entry(&store.objects(), "small");
    let blob = blob(&store.objects(), false);
    store.objects().all.remove(&name);
    let (sender, ages) = mpsc::channel();
    store.before_each(move |request, objects| {
        if *request == format!("PUT {name}") {
            sender.send(objects.now() - objects.all[&blob].modified_at).unwrap();
        }
    });
    pool.ok("push small==1.0").says(&["1 egg pushed"]);
    assert!(ages.recv().unwrap() < DAY);
    assert_whole(&pool, &store);
}

#[test]
fn a_small_egg_that_is_new_costs_one_request_for_its_blob() {
    let (pool, store) = stored();
    store.objects().all.clear();
    pool.ok("push small==1.0");
    let objects = store.objects();
    let of_blobs: Vec<&String> = objects.log.iter().filter(|it| it.contains("blobs")).collect();
    assert_eq!(of_blobs.len(), 1, "{:?}", objects.log);
    assert!(of_blobs[0].starts_with("PUT"), "{of_blobs:?}");
    drop(objects);
    pool.ok("push large==1.0");
    assert_whole(&pool, &store);
}

/// The push ends between the last look at the blob's age and its removal.
#[test]
fn a_blob_whose_entry_is_written_again_stays() {
    for (project, is_large) in [("large", true), ("small", false)] {
        let (pool, store) = stored();
        let name = entry(&store.objects(), project);
        let blob = blob(&store.objects(), is_large);
        let line = store.objects().all[&name].bytes.clone();
        let looked_at = format!("HEAD {blob}");
        store.before_each(move |request, objects| {
            if *request == looked_at {
                objects.put(&name, line.clone());
            }
        });
        pool.ok("remote gc team --max-age 1d").says(&["removed 2 eggs and 1 blob,"]);
        assert!(store.objects().all.contains_key(&blob), "{project}");
        store.leave_alone();
        pool.ok("push --all");
        assert_whole(&pool, &store);
    }
}

#[test]
fn a_store_that_denies_that_a_blob_is_new_gets_it_all_the_same() {
    let (pool, store) = stored();
    store.objects().all.clear();
    // Answers 412 to the conditional write only, as if the blob existed, and does not have it.
    let mut writes = 0;
    store.before_each(move |request, objects| {
        if request.starts_with("PUT v1/blobs/") {
            writes += 1;
            let name = request.trim_start_matches("PUT ").to_owned();
            if writes == 1 {
                objects.put(&name, b"half".to_vec());
            } else {
                objects.all.remove(&name);
            }
        }
    });
    pool.ok("push small==1.0");
    store.leave_alone();
    pool.ok("push large==1.0");
    assert_whole(&pool, &store);
}
