//! The choices by which buildouts came to an archive.

use std::collections::HashMap;

use rusqlite::params;

use super::row::digest_of;
use super::{Index, Writer};
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// Most choices that are kept for one egg. A new one replaces any other: a place whose address holds a
/// token makes a new choice as often as the token changes.
const MOST: i64 = 64;

impl Index {
    /// The choices that were learned for the eggs of one project, by its PEP 503 name.
    pub fn choices_of_project(&self, name: &str) -> Result<HashMap<Digest, Vec<String>>> {
        self.read(|open| {
            let mut statement = open.connection.prepare_cached(
                "SELECT digest, choice FROM choices \
                 WHERE digest IN (SELECT digest FROM eggs WHERE name = ?)",
            )?;
            let rows = statement
                .query_map([name], |row| Ok((digest_of(row, 0)?, row.get::<_, String>(1)?)))?;
            let mut choices: HashMap<Digest, Vec<String>> = HashMap::new();
            for row in rows {
                if let (Some(digest), choice) = row? {
                    choices.entry(digest).or_default().push(choice);
                }
            }
            Ok(choices)
        })
    }

    /// Records choices of eggs, in one transaction. Gives up as [`Index::record`] does.
    pub fn learn(&mut self, choices: &[(Digest, String)]) {
        if !choices.is_empty() {
            self.write_briefly(|writer| {
                choices.iter().try_for_each(|(digest, choice)| writer.learn(*digest, choice))
            });
        }
    }
}

impl Writer<'_> {
    fn learn(&self, digest: Digest, choice: &str) -> Result<()> {
        self.execute(
            "INSERT OR IGNORE INTO choices (digest, choice) SELECT digest, ?2 FROM eggs \
             WHERE digest = ?1",
            params![digest.to_string(), choice],
        )?;
        self.execute(
            "DELETE FROM choices WHERE digest = ?1 AND choice IN \
             (SELECT choice FROM choices WHERE digest = ?1 AND choice <> ?2 \
              ORDER BY random() LIMIT -1 OFFSET ?3 - 1)",
            params![digest.to_string(), choice, MOST],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::dir::Dir;
    use crate::egg::cached_egg::CachedEgg;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;

    #[test]
    fn choices_of_an_egg_are_learned_until_it_is_evicted() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(&Dir::open(dir.path()).unwrap()).unwrap();
        let (egg, gone) = (Digest::of(b"egg"), Digest::of(b"gone"));
        let row = CachedEgg::new(egg, &manifest(Vec::new()), 1, Provenance::default());
        index.write(|writer| writer.insert(&row)).unwrap();
        let choice = |number: usize| format!("{number:064}");
        index.learn(&[(egg, choice(1)), (egg, choice(1)), (gone, choice(1))]);
        let learned = |index: &Index| index.choices_of_project(&row.key.name).unwrap();
        assert_eq!(learned(&index), HashMap::from([(egg, vec![choice(1)])]));
        let many: Vec<_> = (0..1000).map(|number| (egg, choice(number))).collect();
        index.learn(&many);
        assert_eq!(learned(&index)[&egg].len(), usize::try_from(MOST).unwrap());
        index.learn(&[(egg, choice(1000))]);
        assert!(learned(&index)[&egg].contains(&choice(1000)), "others make room");
        assert_eq!(learned(&index)[&egg].len(), usize::try_from(MOST).unwrap());
        index.write(|writer| writer.evict(egg, 0)).unwrap();
        index.write(|writer| writer.insert(&row)).unwrap();
        assert_eq!(learned(&index), HashMap::new());
    }
}
