//! Tests of SQLite's query plans: a query for one egg must not scan all rows.

use std::sync::{Arc, Mutex};

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::cache::retention::plan::{EvictReason, Evicted};
use crate::egg::manifest::tests::manifest;
use crate::egg::provenance::Provenance;

/// The statements that `work` runs, each with its query plan.
fn plans(index: &mut Index, work: impl FnOnce(&mut Index)) -> Vec<(String, String)> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let asked = Arc::clone(&asked);
        move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(statement, _) = event {
                asked.lock().unwrap().extend(statement.expanded_sql());
            }
        }
    };
    index
        .open
        .get_mut()
        .connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
        .unwrap();
    work(index);
    let asked: Vec<String> = std::mem::take(&mut *asked.lock().unwrap());
    asked
        .into_iter()
        .filter(|sql| !sql.starts_with("--")) // part of another statement
        .filter_map(|sql| {
            let mut statement = index
                .open
                .get_mut()
                .connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .ok()?;
            let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            Some((sql, steps.join("; ")))
        })
        .filter(|(_, plan)| !plan.is_empty())
        .collect()
}

fn opened(dir: &tempfile::TempDir) -> (Index, CachedEgg) {
    let index = Index::open(&Dir::open(dir.path()).unwrap()).unwrap();
    let egg = CachedEgg::new(Digest::of(b"egg"), &manifest(Vec::new()), 1, Provenance::default());
    (index, egg)
}

#[test]
fn queries_for_one_egg_do_not_scan_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, egg) = opened(&dir);
    let plans = plans(&mut index, |index| {
        index.of_project(&egg.key.name).unwrap();
        index.of_file_name(&egg.file_name).unwrap();
        index.of_digest(egg.digest).unwrap();
        index.of_digest_prefix(&egg.digest.short()).unwrap();
        index
            .write(|writer| {
                writer.insert(&egg)?;
                writer.of_key(&egg.key)?;
                writer.of_digest(egg.digest)?;
                writer.has(egg.digest)?;
                writer.evict(egg.digest, 0)?;
                let reason = EvictReason::MaxSize;
                let evicted = Evicted { egg: egg.clone(), reason, limit_bytes: 1, came_by: None };
                writer.remember(&evicted, 0)?;
                writer.forget_regrets(0)?;
                writer.regret(&egg.key, 0)?;
                writer.is_evicted(egg.digest)?;
                writer.forget_evicted(egg.digest)?;
                writer.delete(egg.digest)
            })
            .unwrap();
        let (hits, present) = (vec![egg.digest], vec![egg.digest]);
        index.record(&Usage { hits, present, ..Usage::default() }, 0);
        index.touch(&[egg.digest], 0);
        index.record_miss(&egg.key.name, |_| true, 0);
        index.record_miss_of(egg.digest, 0);
        index.regrets(0).unwrap();
    });
    let tables = ["eggs", "evicted", "regrets", "days"];
    let of_eggs = |(sql, _): &&(String, String)| tables.iter().any(|table| sql.contains(table));
    let found: Vec<_> = plans.iter().filter(of_eggs).collect();
    assert!(found.len() >= 10, "{plans:#?}");
    for (sql, plan) in found {
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN"), "{plan}\n{sql}");
    }
}

#[test]
fn a_query_that_scans_all_rows_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, _) = opened(&dir);
    let plans = plans(&mut index, |index| {
        index.all().unwrap();
        index.containing("foo", "foo").unwrap();
    });
    assert_eq!(plans.len(), 2, "{plans:#?}");
    assert!(plans.iter().all(|(_, plan)| plan.contains("SCAN eggs")), "{plans:#?}");
}
