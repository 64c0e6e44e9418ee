//! Times that a file system cannot keep.

use std::fs;

use crate::support::{Mount, Sandbox, assert_same_tree, names_in, touch};

/// 2100-01-01.
const FAR: i64 = 4_102_444_800;

#[test]
fn an_egg_is_not_copied_with_other_times() {
    for (kind, options) in [("xfs", ["-m", "bigtime=0"]), ("ext4", ["-I", "128"])] {
        let sandbox = Sandbox::new();
        let egg = sandbox.egg("foo", "1.0");
        touch(&egg.join("foo.py"), FAR, 0);
        sandbox.egg("bar", "1.0");
        sandbox.ok("add eggs");
        fs::create_dir(sandbox.path("out")).unwrap();
        sandbox.ok("materialize --into out foo");
        assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
        let Some(_mount) = Mount::with_options(&sandbox.path("disk"), kind, &options) else {
            continue;
        };
        let before = names_in(&sandbox.path("disk"));
        sandbox.fails("materialize --into disk foo", 1).says(&["foo.py", "cannot store its mtime"]);
        assert_eq!(names_in(&sandbox.path("disk")), before, "{kind}");
        sandbox.ok("materialize --into disk bar");
    }
}
