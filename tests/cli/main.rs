//! The `eggcache` command as its users see it: every test runs the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod add;
mod bad_input;
mod damage;
mod disk;
mod gc;
mod list_show;
mod materialize;
mod output;
mod parallel;
mod permissions;
mod recovery;
mod reindex;
mod round_trip;
mod serve;
mod support;
mod verify;

#[test]
fn every_file_of_this_folder_is_a_module() {
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
