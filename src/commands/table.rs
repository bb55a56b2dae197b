//! Columns of text for people.

use std::io::Write;

/// The text on one line, without what a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Writes a header and rows in columns as wide as their widest cell.
///
/// # Errors
/// `out` cannot be written.
pub fn print_table(header: &[&str], rows: Vec<Vec<String>>, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_controls_are_shown() {
        let mut out = Vec::new();
        print_table(&["A", "B"], vec![vec![printable("x\u{1b}[2J"), "1".into()]], &mut out).expect("a Vec takes all");
        assert_eq!(String::from_utf8(out).expect("text"), "A           B\nx\\u{1b}[2J  1\n");
    }
}
