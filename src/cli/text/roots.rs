//! The buildouts that use the cache.

use crate::cache::retention::roots::RootState;
use crate::ops::roots::Report;

use super::{align_right, counted, day, fitted, minute, plain, size, table};
use crate::cli::print::Text;

pub fn listed(report: &Report) -> Text {
    let mut table =
        table(["buildout", "eggs", "in cache", "size", "only here", "last run", "state"]);
    for listed in &report.roots {
        let root = &listed.known.root;
        table.add_row([
            plain(&root.directory.display().to_string()),
            root.eggs.len().to_string(),
            listed.cached.to_string(),
            size(listed.bytes),
            size(listed.exclusive_bytes),
            minute(root.last_run),
            match listed.known.state {
                RootState::Live => "live".into(),
                RootState::Gone { gone_since } => format!("gone since {}", day(gone_since)),
                RootState::Elsewhere => format!("on {}", plain(&root.machine)),
            },
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4]);
    let forgotten = report.forgotten.iter();
    Text {
        data: if report.roots.is_empty() { String::new() } else { fitted(&mut table, &[2, 4, 5]) },
        problems: report.unreadable.clone(),
        notes: forgotten.map(|directory| format!("forgot {}", directory.display())).collect(),
        summary: counted(report.roots.len(), "buildout"),
    }
}
