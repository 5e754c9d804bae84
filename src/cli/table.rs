//! Tables for people: aligned, coloured on a terminal, and within a width.

use std::{
    env,
    io::{self, IsTerminal},
};

use clap::ColorChoice;

/// How wide lines get before their last cell is wrapped.
pub(super) const WIDTH: usize = 100;

/// Between two columns.
const GAP: usize = 2;

/// What a wrapped cell needs to be legible.
const LEGIBLE: usize = 24;

/// How far what stands below its line is moved in.
const INDENT: usize = 4;

/// What something looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Style {
    /// What a state of health looks like.
    pub(super) fn of_health(health: &str) -> Self {
        match health {
            "healthy" => Self::Green,
            "warning" | "unknown" => Self::Yellow,
            "unhealthy" => Self::Red,
            _ => Self::Dim,
        }
    }
}

/// Paints text, or does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// Whether to colour what goes to standard output: by what is asked for, else if that is a terminal and `NO_COLOR` is not
    /// set (<https://no-color.org>).
    pub(super) fn new(choice: ColorChoice) -> Self {
        Self(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        })
    }

    #[cfg(test)]
    pub(super) const fn always(always: bool) -> Self {
        Self(always)
    }

    pub(super) fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Plain => "",
        };
        if !self.0 || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A cell: a text and what it looks like.
#[derive(Clone, Debug)]
pub(super) struct Cell(Style, String);

impl Cell {
    /// A text from outside is cleaned: a terminal would obey what is in it.
    pub(super) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self(style, clean(text.as_ref()))
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Style::Plain, text)
    }
}

/// Without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows of cells in columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    has_head: bool,
}

impl Table {
    /// A table without a line of names at its top.
    pub(super) fn plain() -> Self {
        Self::default()
    }

    /// A table whose columns have names.
    pub(super) fn with_head(names: &[&str]) -> Self {
        let head = names.iter().map(|name| Cell::new(Style::Bold, name)).collect();
        Self { rows: vec![head], has_head: true }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Draws the table, each line behind `indent` spaces; columns with nothing in them are left out. The last cell is wrapped
    /// where the others leave it room to be read; else what does not fit goes to a line of its own.
    pub(super) fn draw(&self, indent: usize, paint: Paint) -> String {
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
            text += &draw_line(row, line, indent, paint);
            // One column alone needs no name.
            if number > 0 || !self.has_head || below.len() > 1 {
                text += &draw_line(row, below, indent + INDENT, paint);
            }
        }
        text
    }

    /// The columns that have something in them, with the width of each.
    fn columns(&self) -> Vec<(usize, usize)> {
        let length =
            |row: &Vec<Cell>, column| row.get(column).map_or(0, |cell: &Cell| cell.1.chars().count());
        let widest =
            |rows: &[Vec<Cell>], column| rows.iter().map(|row| length(row, column)).max().unwrap_or(0);
        let body = self.rows.get(usize::from(self.has_head)..).unwrap_or_default();
        (0..self.rows.iter().map(Vec::len).max().unwrap_or(0))
            .filter(|column| widest(body, *column) > 0)
            .map(|column| (column, widest(&self.rows, column)))
            .collect()
    }
}

/// Draws some cells of a row, the last of them wrapped; nothing, if they are empty.
fn draw_line(row: &[Cell], columns: &[(usize, usize)], indent: usize, paint: Paint) -> String {
    let mut line = " ".repeat(indent);
    let mut at = indent;
    for (number, (column, width)) in columns.iter().enumerate() {
        let Some(Cell(style, cell)) = row.get(*column) else { break };
        if number + 1 < columns.len() {
            line += &paint.paint(*style, cell);
            line += &" ".repeat(width.saturating_sub(cell.chars().count()) + GAP);
            at += width + GAP;
        } else {
            let parts = wrap(cell, WIDTH.saturating_sub(at));
            let parts: Vec<_> = parts.iter().map(|part| paint.paint(*style, part)).collect();
            line += &parts.join(&format!("\n{:at$}", ""));
        }
    }
    let lines = line.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Breaks a text at its spaces into lines of at most `width`, if that is legible; a long word stays whole.
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

/// A span of seconds in two or three characters: `5s`, `12m`, `3h`, `40d`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::with_head(&["NAME", "TIER", "WHY"]);
        table.row(vec![Cell::plain("a"), Cell::plain(""), Cell::plain("x")]);
        table.row(vec![Cell::new(Style::Red, "longer"), Cell::plain(""), Cell::plain("y\x1b[2J")]);
        let expected = "  NAME    WHY\n  a       x\n  longer  y [2J\n";
        assert_eq!(table.draw(2, Paint::always(false)), expected);
        assert!(table.draw(2, Paint::always(true)).contains("  \x1b[31mlonger\x1b[0m  y [2J"));
    }

    #[test]
    fn the_last_cell_is_wrapped_below_itself() {
        let mut table = Table::plain();
        table.row(vec![Cell::plain("name"), Cell::plain("word ".repeat(30).trim())]);
        let text = table.draw(0, Paint::always(false));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("      word"), "{text}");
    }

    #[test]
    fn what_does_not_fit_goes_to_a_line_of_its_own() {
        let mut table = Table::with_head(&["NAME", "SOURCE", "WHY"]);
        let name = "n".repeat(90);
        table.row(vec![
            Cell::plain(&name),
            Cell::plain("kubernetes.eks"),
            Cell::plain("word ".repeat(25).trim()),
        ]);
        let text = table.draw(0, Paint::always(false));
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
