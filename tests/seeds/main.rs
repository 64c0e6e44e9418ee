//! Runs the seeds of the fuzz targets without a fuzzer. A seed named `good-...` must be accepted,
//! one named `bad-...` refused.
//!
//! `cargo test --test seeds -- --ignored` writes the seeds again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod corpus;
#[path = "../cli/forge.rs"]
mod forge;
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

fn replay(target: &str) {
    let (_, property) = properties::TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let (mut tried, mut wrong) = (0, Vec::new());
    for seed in fs::read_dir(folder(target)).unwrap() {
        let path = seed.unwrap().path();
        let content = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let found = match std::panic::catch_unwind(|| property(&content)) {
            Ok(true) => "good",
            Ok(false) => "bad",
            Err(_) => "breaking a property",
        };
        if name.split('-').next() != Some(found) {
            wrong.push(format!("{name} is {found}"));
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{target}: {wrong:#?}");
    assert!(tried > 4, "{target} has {tried} seeds");
}

#[test]
fn manifests_are_sound_or_refused() {
    replay("manifest");
}

#[test]
fn blobs_are_sound_or_refused() {
    replay("blob");
}

#[test]
fn egg_names_have_one_interpretation() {
    replay("egg_name");
}

#[test]
fn metadata_is_read_from_the_headers() {
    replay("metadata");
}

#[test]
fn zipped_eggs_are_sound_or_refused() {
    replay("zip_egg");
}

#[test]
fn files_survive_packing_into_a_blob() {
    replay("round_trip");
}

#[test]
fn objects_are_read_within_bounds() {
    replay("elf");
}

#[test]
fn an_entry_counts_only_as_it_was_signed() {
    replay("entry_list");
}

#[test]
fn a_list_of_withdrawn_builds_counts_only_as_it_was_signed() {
    replay("statement");
}

#[test]
fn policies_have_one_meaning() {
    replay("policy");
}

#[test]
fn files_of_buildouts_are_read_line_by_line() {
    replay("buildout_file");
}

#[test]
fn a_file_of_a_cache_is_used_or_reported() {
    replay("cache_file");
}

#[test]
fn every_request_gets_one_answer() {
    replay("requests");
}

#[test]
fn archives_are_sound_or_refused() {
    replay("archive");
}

#[test]
fn wheels_have_a_sound_plan_or_are_left_to_buildout() {
    replay("wheel");
}

#[test]
fn compiled_files_have_one_canonical_form() {
    replay("bytecode");
}

#[test]
fn every_seed_can_be_written_again() {
    let seeds = corpus::seeds();
    for (target, _) in properties::TARGETS {
        let names = fs::read_dir(folder(target)).unwrap();
        let found: BTreeSet<String> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        let of_target = seeds.iter().filter(|seed| seed.target == target);
        assert_eq!(found, of_target.map(|seed| seed.name.clone()).collect(), "{target}");
    }
}

#[test]
#[ignore = "it writes the seeds"]
fn write_the_seeds() {
    for (target, _) in properties::TARGETS {
        let _ = fs::remove_dir_all(folder(target));
        fs::create_dir_all(folder(target)).unwrap();
    }
    for corpus::Seed { target, name, content } in corpus::seeds() {
        let path = folder(target).join(name);
        assert!(!path.exists(), "{} exists twice", path.display());
        fs::write(path, content).unwrap();
    }
}
