//! Tables: rows of equally many cells.

/// How many rows are looked at.
const ROWS_MAX: usize = 200;
/// How long the cells of a table are on average at most: in prose, what stands between commas is longer.
const CELL_BYTES_MAX: usize = 60;

/// Which kind of table a text is; `None` if it is none.
///
/// The library csv-nose would know more dialects, but it starts threads of its own, which outlive every call.
pub fn look(text: &str, is_whole: bool) -> Option<&'static str> {
    let rows = whole_rows(text, is_whole);
    if is_points(rows) {
        return Some("XYZ");
    }
    let candidates = [(b',', "CSV"), (b';', "CSV"), (b'\t', "TSV"), (b'|', "PSV")];
    let fitting = candidates.into_iter().filter_map(|(separator, format)| Some((fit(rows, separator)?, format)));
    fitting.max_by_key(|(fit, _)| *fit).map(|(_, format)| format)
}

/// The text without what was cut off of its last row.
fn whole_rows(text: &str, is_whole: bool) -> &str {
    if is_whole { text } else { text.rfind('\n').map_or("", |end| &text[..end]) }
}

/// How well a text fits a separator: how many rows in a hundred have equally many cells, and how many those are.
fn fit(rows: &str, separator: u8) -> Option<(usize, usize)> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).has_headers(false).flexible(true).from_reader(rows.as_bytes());
    let (mut widths, mut bytes) = (Vec::new(), 0);
    for record in reader.byte_records().take(ROWS_MAX) {
        let record = record.ok()?;
        widths.push(record.len());
        bytes += record.as_slice().len();
    }
    let (width, count) = most_frequent(&widths)?;
    let cells: usize = widths.iter().sum();
    let percent = count * 100 / widths.len();
    // A few rows of remarks above or below a table are common.
    let is_even = percent >= if widths.len() < 10 { 75 } else { 60 };
    let is_table = widths.len() > 1 && width > 1 && is_even && bytes / cells <= CELL_BYTES_MAX;
    (is_table && !is_prose(rows, separator, width)).then_some((percent, width))
}

/// Whether what looks like two columns are sentences with a comma in each.
fn is_prose(rows: &str, separator: u8, width: usize) -> bool {
    let mut lines = rows.lines().filter(|line| !line.trim().is_empty()).take(ROWS_MAX);
    separator == b','
        && width == 2
        && lines.all(|line| line.split(',').skip(1).all(|cell| cell.starts_with(' ')))
        && rows.split_whitespace().count() > rows.lines().count() * 4
}

/// The width that most rows have, and how many do.
fn most_frequent(widths: &[usize]) -> Option<(usize, usize)> {
    let count = |width: usize| widths.iter().filter(|other| **other == width).count();
    widths.iter().map(|width| (*width, count(*width))).max_by_key(|(width, count)| (*count, *width))
}

/// Whether all rows are coordinates of points: three numbers or more, with white space between.
fn is_points(rows: &str) -> bool {
    let mut lines = rows.lines().filter(|line| !line.trim().is_empty()).take(ROWS_MAX).peekable();
    let is_point = |line: &str| {
        let mut words = line.split_whitespace();
        line.split_whitespace().count() >= 3 && words.all(|word| word.parse::<f64>().is_ok())
    };
    lines.peek().is_some() && rows.lines().nth(1).is_some() && lines.all(is_point)
}
