//! The names of all projects.

use super::{Index, wrap};
use crate::error::Result;

impl Index {
    /// The PEP 503 names of all eggs, sorted and without duplicates.
    pub fn names(&self) -> Result<Vec<String>> {
        let names = || -> rusqlite::Result<Vec<String>> {
            let mut statement =
                self.connection.prepare_cached("SELECT DISTINCT name FROM eggs ORDER BY name")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        names().map_err(|source| wrap(&self.path, source))
    }
}
