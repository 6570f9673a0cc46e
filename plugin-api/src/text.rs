/// The longest line, in characters.
const CHARS_MAX: usize = 500;

/// A stranger's text as one line of plain text, of at most 500 characters: fit for a log, a reason, a record.
///
/// Control characters, and those that turn the direction of writing or take no room, become spaces.
///
/// ```
/// assert_eq!(ckan_worker_plugin::one_line("a\r\nSet-Cookie: x\u{202e}\0"), "a  Set-Cookie: x");
/// ```
pub fn one_line(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() || is_invisible(letter) { ' ' } else { letter };
    let line: String = text.chars().map(visible).take(CHARS_MAX).collect();
    line.trim().to_owned()
}

fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_one_short_line() {
        assert_eq!(one_line("a\r\nSet-Cookie: x\u{202e}\0"), "a  Set-Cookie: x");
        assert_eq!(one_line(&"é".repeat(900)).chars().count(), 500);
    }
}
