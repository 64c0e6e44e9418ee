//! What is trusted because of where it has come from.

use crate::pool::Pool;

#[test]
fn untrusted_entries_are_not_removed_without_a_valid_key() {
    let pool = Pool::with_two();
    let before = pool.content();
    for distrust in ["--remove key.pub", "key.pub --until 2020-01-01"] {
        pool.ok("trust team key.pub");
        pool.ok(&format!("trust team {distrust}"));
        for line in ["remote gc team --untrusted", "remote gc team --untrusted --dry-run"] {
            pool.run("cache", "key", line, 1).says(&["team", "no key", "hint: "]);
        }
        assert_eq!(pool.content(), before);
    }
}
