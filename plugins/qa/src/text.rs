//! Strangers' texts as they may be written down.

const CHARS_MAX: usize = 500;

/// A stranger's text as one line of plain text, of at most 500 characters.
pub fn clean(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() || is_invisible(letter) { ' ' } else { letter };
    let line: String = text.chars().map(visible).take(CHARS_MAX).collect();
    line.trim().to_owned()
}

/// Whether a letter turns the direction of writing, or takes no room.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line_of_plain_text() {
        assert_eq!(clean("a\r\nSet-Cookie: x\u{202e}\0"), "a  Set-Cookie: x");
        assert_eq!(clean(&"é".repeat(900)).chars().count(), 500);
    }
}
