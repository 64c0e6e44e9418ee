//! Files with strange names in a folder that others can write stop no command on the remote.

use std::os::unix::fs::symlink;

use crate::pool::Pool;
use crate::support::write;

const COMMANDS: [&str; 4] = [
    "remote gc team",
    "sign team",
    "remote withdraw team foo==1.0 --reason bad",
    "remote withdraw team foo==1.0 --undo",
];

#[test]
fn strange_names_in_a_folder_stop_no_command() {
    let pool = Pool::with_two();
    let v1 = pool.sandbox.path("pool/v1");
    let names = ["a\u{1b}b", "entries/foo/x\u{1}", "projects/foo/#1", "sets/a b?*", "blobs/\n"];
    for name in names {
        write(&v1.join(name), b"");
    }
    symlink("..", v1.join("entries/foo/loop")).unwrap();
    symlink("loop2", v1.join("loop2")).unwrap();
    symlink("/nonexistent", v1.join("entries/foo").join("d".repeat(64))).unwrap();
    let problems = pool.problems("");
    assert_eq!(problems, [("foreign".into(), "it is not part of a remote".into())]);
    for command in COMMANDS {
        let output = pool.ok(command);
        assert!(!output.stdout.contains('\u{1b}') && !output.stderr.contains('\u{1}'));
    }
    for name in names {
        assert!(v1.join(name).exists(), "{name}");
    }
}
