//! Tables for terminals: aligned, styled, and at most [`WIDTH`] columns wide.
//!
//! Text is never cut: names are meant to be copied. Rejected: comfy-table. It wraps every column
//! that has no room, and cannot move columns to a line below.

use std::net::IpAddr;

use anstyle::{AnsiColor, Style};

/// The width at which the last cell of a line is wrapped, in characters.
pub(super) const WIDTH: usize = 100;

/// Spaces between two columns.
const GAP: usize = 2;

/// The width that a wrapped cell needs to be legible.
const LEGIBLE: usize = 24;

/// The indentation of columns that are moved to a line below.
const INDENT: usize = 4;

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(super) const RED: Style = AnsiColor::Red.on_default();

/// The color of a state of health.
pub(super) fn health_style(health: &str) -> Style {
    match health {
        "healthy" => GREEN,
        "warning" | "unknown" => YELLOW,
        "unhealthy" => RED,
        _ => DIM,
    }
}

/// Wraps a text in the codes of a style; an empty text stays empty.
pub(super) fn styled(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// A text with its style.
#[derive(Clone, Debug)]
pub(super) struct Cell(Style, String);

impl Cell {
    /// Makes a cell; control characters in `text` are replaced, since a terminal would obey them.
    pub(super) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self(style, clean(text.as_ref()))
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(PLAIN, text)
    }
}

/// Replaces control characters by spaces.
pub(super) fn clean(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Rows of cells in columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    has_header: bool,
}

impl Table {
    /// Makes a table without a header.
    pub(super) fn plain() -> Self {
        Self::default()
    }

    /// Makes a table with a header.
    pub(super) fn with_header(names: &[&str]) -> Self {
        let header = names.iter().map(|name| Cell::new(BOLD, name)).collect();
        Self { rows: vec![header], has_header: true }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Draws the table, indented by `indent` spaces; empty columns are left out. The last cell is
    /// wrapped where the others leave it room, else the columns that do not fit go to a line below.
    pub(super) fn draw(&self, indent: usize) -> String {
        let columns = self.columns();
        let whole: usize = columns.iter().map(|(_, width)| width + GAP).sum();
        let Some(((_, last), others)) = columns.split_last() else { return String::new() };
        let fits = indent + whole <= WIDTH + GAP || indent + whole - last - GAP + LEGIBLE <= WIDTH;
        let mut end = indent;
        let beside = |(_, width): &&(usize, usize)| {
            end += width + GAP;
            end <= WIDTH + GAP
        };
        let split = if fits { columns.len() } else { others.iter().take_while(beside).count() };
        let (line, below) = columns.split_at(split);
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            text += &draw_line(row, line, indent);
            // A single column needs no header.
            if number > 0 || !self.has_header || below.len() > 1 {
                text += &draw_line(row, below, indent + INDENT);
            }
        }
        text
    }

    /// The columns that are not empty: index and width.
    fn columns(&self) -> Vec<(usize, usize)> {
        let length =
            |row: &Vec<Cell>, column| row.get(column).map_or(0, |cell: &Cell| cell.1.chars().count());
        let widest =
            |rows: &[Vec<Cell>], column| rows.iter().map(|row| length(row, column)).max().unwrap_or(0);
        debug_assert!(!self.has_header || !self.rows.is_empty(), "the header is the first row");
        let body = self.rows.get(usize::from(self.has_header)..).unwrap_or_default();
        (0..self.rows.iter().map(Vec::len).max().unwrap_or(0))
            .filter(|column| widest(body, *column) > 0)
            .map(|column| (column, widest(&self.rows, column)))
            .collect()
    }
}

/// Draws some cells of a row, the last one wrapped; nothing if all are empty.
fn draw_line(row: &[Cell], columns: &[(usize, usize)], indent: usize) -> String {
    let mut line = " ".repeat(indent);
    let mut at = indent;
    for (number, (column, width)) in columns.iter().enumerate() {
        let Some(Cell(style, cell)) = row.get(*column) else { break };
        if number + 1 < columns.len() {
            line += &styled(*style, cell);
            line += &" ".repeat(width.saturating_sub(cell.chars().count()) + GAP);
            at += width + GAP;
        } else {
            let parts = wrap(cell, WIDTH.saturating_sub(at));
            let parts: Vec<_> = parts.iter().map(|part| styled(*style, part)).collect();
            line += &parts.join(&format!("\n{:at$}", ""));
        }
    }
    let lines = line.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Breaks a text at spaces into lines of at most `width` characters, but no less than [`LEGIBLE`];
/// a long word stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(LEGIBLE);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= width {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

/// A number of seconds, shortened: `5s`, `12m`, `3h`, `40d`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// For how long a state has been stale, and for how much longer it is answered.
pub(super) fn staleness(stale_seconds: Option<u64>, expires_in_seconds: Option<u64>) -> Option<String> {
    let stale = format!("stale for {}", age(stale_seconds?));
    Some(match expires_in_seconds {
        Some(left) => format!("{stale}, answered for {} more", age(left)),
        None => stale,
    })
}

/// The addresses or the host of an instance, with the port unless it is 0.
pub(super) fn endpoint(addresses: &[IpAddr], host: Option<&str>, port: u16) -> String {
    let port = if port == 0 { String::new() } else { format!(":{port}") };
    let with_port = |address: &IpAddr| match address {
        IpAddr::V4(address) => format!("{address}{port}"),
        IpAddr::V6(address) if port.is_empty() => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]{port}"),
    };
    match host {
        Some(host) => format!("{host}{port}"),
        None => addresses.iter().map(with_port).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_align_and_empty_ones_are_left_out() {
        let mut table = Table::with_header(&["NAME", "TIER", "WHY"]);
        table.row(vec![Cell::plain("a"), Cell::plain(""), Cell::plain("x")]);
        table.row(vec![Cell::new(RED, "longer"), Cell::plain(""), Cell::plain("y\x1b[2J")]);
        let expected = "  NAME    WHY\n  a       x\n  longer  y [2J\n";
        assert_eq!(plain(&table.draw(2)), expected);
        assert!(table.draw(2).contains("  \x1b[31mlonger\x1b[0m  y [2J"));
    }

    #[test]
    fn the_last_cell_wraps_below_itself() {
        let mut table = Table::plain();
        table.row(vec![Cell::plain("name"), Cell::plain("word ".repeat(30).trim())]);
        let text = plain(&table.draw(0));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("      word"), "{text}");
    }

    #[test]
    fn columns_without_room_go_to_a_line_below() {
        let mut table = Table::with_header(&["NAME", "SOURCE", "WHY"]);
        let name = "n".repeat(90);
        table.row(vec![
            Cell::plain(&name),
            Cell::plain("kubernetes.eks"),
            Cell::plain("word ".repeat(25).trim()),
        ]);
        let text = plain(&table.draw(0));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["NAME", "    SOURCE          WHY", name.as_str()], "{text}");
        assert!(lines[3].starts_with("    kubernetes.eks  word word"), "{text}");
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }
}
