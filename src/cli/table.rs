//! Tables.

use comfy_table::{CellAlignment, ColumnConstraint, presets};

use crate::util::printable::one_line;

/// A table whose cells are printable, whatever the names in them.
pub struct Table(comfy_table::Table);

impl Table {
    pub fn add_row(&mut self, row: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(row.into_iter().map(|cell| one_line(cell.as_ref()).into_owned()));
    }

    /// Adds a row whose cells have several lines.
    pub fn add_lines<const N: usize>(&mut self, row: [&[String]; N]) {
        let cell = |lines: &[String]| {
            lines.iter().map(|line| one_line(line)).collect::<Vec<_>>().join("\n")
        };
        self.0.add_row(row.map(cell));
    }
}

/// An empty table with a header line.
pub fn table<'h>(header: impl IntoIterator<Item = &'h str>) -> Table {
    let mut table = comfy_table::Table::new();
    let header: Vec<String> = header.into_iter().map(str::to_uppercase).collect();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Table(table)
}

pub fn align_right<const N: usize>(table: &mut Table, columns: [usize; N]) {
    for column in columns {
        if let Some(column) = table.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The lines of a table; none if it has no rows. On a narrow terminal, the columns of `spare` are
/// hidden one after another until the lines fit, because wrapped lines cannot be read as a table.
pub fn fitted(table: &mut Table, spare: &[usize]) -> String {
    let mut text = lines(table);
    let Some(width) = terminal_width() else { return text };
    for &column in spare {
        if text.lines().all(|line| line.chars().count() <= width) {
            break;
        }
        if let Some(column) = table.0.column_mut(column) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        text = lines(table);
    }
    text
}

/// The lines of a table; none if it has no rows.
pub fn lines(Table(table): &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// The width of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|&width| width > 0)
}
