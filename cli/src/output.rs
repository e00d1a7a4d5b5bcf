//! Printing: tables and sentences for people, one JSON document for programs. Results go to standard output, everything else
//! (warnings, progress, errors) to standard error, so that a pipe gets results alone.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::CliError;

/// Where a result goes as one JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonTarget {
    /// To standard output.
    Standard,
    /// Into a file; people still read the result on standard output.
    File(PathBuf),
}

impl FromStr for JsonTarget {
    type Err = Infallible;

    /// `-` is standard output, anything else a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Standard } else { Self::File(text.into()) })
    }
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    terminal: bool,
}

impl Output {
    /// Prints JSON if asked to, otherwise for people.
    pub fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stdout().is_terminal() }
    }

    /// Whether results are printed as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches standard error, so that lines may be redrawn.
    pub fn is_live(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// One line of a result. A closed pipe is no error: whoever read has seen enough.
    pub fn line(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
    }

    /// Something to know besides the result.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Something that works but should be changed.
    pub fn warn(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "warning: {}", text.as_ref());
    }

    /// A result as one JSON document on one line, or in readable form on a terminal.
    pub fn document(&self, value: &impl Serialize) {
        let text = if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        // Maps with text keys and plain values always serialize; were it otherwise, the error is the result.
        self.line(text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
    }

    /// A result: as JSON, or with `people`.
    pub fn result(&self, value: &impl Serialize, people: impl FnOnce(&Self)) {
        if self.json { self.document(value) } else { people(self) }
    }

    /// What went wrong.
    pub fn error(&self, error: &CliError) {
        if error.is_printed() {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        let _ = if self.json {
            writeln!(stderr, "{}", serde_json::json!({ "error": error.to_string(), "exit_code": error.exit_code() }))
        } else {
            writeln!(stderr, "error: {error}")
        };
    }

    /// A table of names and values.
    pub fn pairs<V: AsRef<str>>(&self, pairs: impl IntoIterator<Item = (&'static str, V)>) {
        let mut table = self.new_table();
        for (name, value) in pairs {
            table.add_row([name, value.as_ref()]);
        }
        self.print(&table);
    }

    /// A table with a heading; the columns named in `right` are numbers.
    pub fn rows(&self, heading: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = self.new_table();
        table.set_header(heading.iter().copied());
        rows.into_iter().for_each(|row| {
            table.add_row(row);
        });
        for &column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.print(&table);
    }

    fn new_table(&self) -> Table {
        let mut table = Table::new();
        if self.terminal {
            table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.load_preset(presets::NOTHING);
        }
        table
    }

    fn print(&self, table: &Table) {
        table.lines().for_each(|line| self.line(line.trim_end()));
    }
}

/// A number with commas between its thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(value), text);
        }
    }
}
