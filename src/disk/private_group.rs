//! Whether a group has one member, the user of the same number. Many systems make such a group for each user.

use std::path::Path;

use crate::disk::files;

/// The longest file of users or groups that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// Whether the group of this number belongs to the user of this number alone, as far as the files of the system
/// know. On a system that keeps both elsewhere, they are taken for such a pair.
#[must_use]
pub fn is_private(number: u32) -> bool {
    let read = |path: &str| files::read_short(Path::new(path), LONGEST).unwrap_or_default();
    is_private_in(number, &read("/etc/passwd"), &read("/etc/group"))
}

fn is_private_in(number: u32, users: &[u8], groups: &[u8]) -> bool {
    let (users, groups) = (String::from_utf8_lossy(users), String::from_utf8_lossy(groups));
    let users: Vec<Vec<&str>> = users.lines().map(|line| line.split(':').collect()).collect();
    let is_number = |field: Option<&&str>| field.is_some_and(|it| it.parse() == Ok(number));
    let is_user =
        |name: &str| users.iter().any(|user| user.first() == Some(&name) && is_number(user.get(2)));
    // The group of root is that of several users of the system, which nobody is.
    let is_shared = |user: &Vec<&str>| is_number(user.get(3)) && !is_number(user.get(2));
    if number != 0 && users.iter().any(is_shared) {
        return false;
    }
    groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).all(|group| {
        let members = group.get(3).map_or("", |members| members.trim());
        let mut members = members.split(',').filter(|member| !member.is_empty());
        !is_number(group.get(2))
            || (group.first().is_some_and(|it| is_user(it)) && members.all(is_user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_private_if_nobody_else_is_in_it() {
        let users = "root:x:0:0::/root:/bin/sh\nsync:x:4:0::/:/bin/sync\nanne:x:1000:1000::/:/bin/sh\n\
                     dhcp:x:100:101::/:/bin/sh\nbob:x:1001:1002::/:/bin/sh\neve:x:1003:1002::/:/bin/sh\n";
        let groups = "root:x:0:\nusers:x:100:\nanne:x:1000:anne\nbob:x:1001:eve,bob\n\
                      carol:x:1002:\nwheel:x:0:root\n";
        let is_private = |number| is_private_in(number, users.as_bytes(), groups.as_bytes());
        assert!(is_private(1000));
        assert!(!is_private(100), "a group of another name");
        assert!(!is_private(1001), "a group with another member");
        assert!(!is_private(1002), "the group of two users");
        assert!(is_private(5000), "unknown");
        assert!(!is_private(0), "two groups of one number");
        assert!(is_private_in(0, users.as_bytes(), b"root:x:0:\n"));
        assert!(is_private_in(1000, b"", b""));
    }
}
