//! The names of all projects.

use rusqlite::Row;

use super::Index;
use crate::error::Result;

impl Index {
    /// The PEP 503 names of all eggs, sorted and without duplicates.
    pub fn names(&self) -> Result<Vec<String>> {
        self.read(|open| {
            let mut statement =
                open.connection.prepare_cached("SELECT DISTINCT name FROM eggs ORDER BY name")?;
            let name = |row: &Row<'_>| {
                let name: String = row.get(0)?;
                open.budget.take(name.len())?;
                Ok(name)
            };
            statement.query_map([], name)?.collect()
        })
    }
}
