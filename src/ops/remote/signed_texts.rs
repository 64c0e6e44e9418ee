//! What some keys have signed on a remote.

use std::collections::HashMap;

use crate::remote::inventory::{Inventory, StoredEntry};
use crate::remote::signature;

/// The signed texts that a signature of one of some keys belongs to, in an entry, a list or a set. One that
/// is left in any of these places is enough: who has the key may have removed it from the others. Nothing
/// is checked, because the keys need not be known here, only their ids.
pub struct SignedTexts<'a> {
    keys: HashMap<&'a str, String>,
}

impl<'a> SignedTexts<'a> {
    pub fn new(inventory: &'a Inventory, ids: &[String]) -> Self {
        let mut keys = HashMap::new();
        if ids.is_empty() {
            return Self { keys };
        }
        let lines = inventory.lists.values().chain(inventory.sets.values()).flatten().flatten();
        for signed in inventory.entries.iter().map(|it| &it.signed).chain(lines) {
            let named = signature::named_ids(signed);
            if let Some(key) = ids.iter().find(|id| named.contains(*id)) {
                keys.insert(signed.entry.as_str(), key.clone());
            }
        }
        Self { keys }
    }

    /// The key that has signed an entry.
    pub fn of(&self, stored: &StoredEntry) -> Option<&str> {
        self.keys.get(stored.signed.entry.as_str()).map(String::as_str)
    }

    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.keys.keys().copied()
    }
}
