//! The `eggcache` command as users see it: every test runs the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod add;
mod add_builder;
mod approve;
mod archive_mtimes;
mod arrival;
mod author_names;
mod bad_input;
mod blob_changes;
mod blob_races;
mod bundle;
mod bundle_hostile;
mod bundle_import;
mod bundle_place;
mod cache_dir;
mod cache_places;
mod check;
mod checkout;
mod clone;
mod complete_words;
mod convert;
mod damage;
mod diff;
mod digests;
mod disk;
mod doctor;
mod egg_layouts;
mod far_times;
mod foreign_locks;
mod foreign_remotes;
mod forge;
mod forged_lines;
mod gc;
mod gc_ci;
mod generate;
mod handles;
mod hard_links;
mod help_and_hints;
mod hostile;
mod hostile_index;
mod interrupted_add;
mod known_eggs;
mod list_options;
mod list_show;
mod lock;
mod locked_index;
mod log;
mod log_file;
mod man_pages;
mod materialize;
mod nearest;
mod not_a_cache;
mod noted_wheels;
mod old_caches;
mod openmetrics;
mod output;
mod parallel;
mod permissions;
mod pins;
mod planted;
mod policy;
mod pool;
mod power_cut;
mod preflight;
mod private;
mod provenance;
mod pull_through;
mod records;
mod recovery;
mod rederive;
mod regrets;
mod reindex;
mod relocation;
mod remote;
mod remote_document;
mod remote_eggs;
mod remote_gc;
mod remote_places;
mod remote_races;
mod remote_settings;
mod remote_verify;
mod remove;
mod repair;
mod revoked_key;
mod root_user;
mod roots;
mod round_trip;
mod sbom;
mod serve;
mod serve_convert;
mod serve_custom;
mod serve_prepare;
mod serve_remote;
mod set_aside;
mod shared;
mod sign;
mod signatures_needed;
mod signs_of_life;
mod stats;
mod stats_lists;
mod stats_reset;
mod stolen_key;
mod store;
mod strange_names;
mod support;
mod time_budget;
mod trust;
mod umask;
mod untouched;
mod used_by_lines;
mod users;
mod verify;
mod verify_due;
mod why;
mod withdrawal_attacks;
mod withdrawal_memory;
mod withdrawal_runs;
mod withdrawals;
mod withdrawn_copies;

#[test]
fn every_file_in_this_folder_is_a_module() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli");
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".rs").map(Into::into))
        .filter(|name| name != "main")
        .collect();
    names.sort();
    let modules: Vec<&str> = include_str!("main.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(names, modules);
}

#[test]
fn every_test_named_in_the_documents_exists() {
    let code = (text_below("src") + &text_below("tests")).replace("(\n    ", "(");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let documents = text_below("docs") + &std::fs::read_to_string(root).unwrap();
    // Only tests are words in backquotes with that many underscores.
    let is_test = |word: &&str| {
        word.matches('_').count() > 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let tests: Vec<&str> = documents.split('`').filter(is_test).collect();
    assert!(tests.len() > 5);
    for test in tests {
        // The last form is a macro that makes one test for each operation.
        let forms = [format!("fn {test}("), format!("def {test}("), format!("!({test},")];
        let is_defined = forms.iter().any(|form| code.contains(form));
        assert!(is_defined, "the documents name a test that does not exist: {test}");
    }
}

fn text_below(folder: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap().into_path());
    let texts = files.filter(|path| {
        path.extension().is_some_and(|it| ["rs", "py", "md"].iter().any(|text| it == *text))
    });
    texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}
