//! The text of a URL and its parts: line breaks, invisible characters, escapes.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Removes the one line break, of any kind, that editors and shells leave at the end of a text.
pub fn without_line_end(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix(['\n', '\r'])).unwrap_or(text)
}

/// Removes one line break from the end of a text. Returns `None` if the text begins or ends with a
/// space, or contains a line break or another invisible character: a URL must write them as `%20`,
/// `%0A` and so on.
pub fn single_line(text: &str) -> Option<&str> {
    let text = without_line_end(text);
    let is_invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}' | '\u{feff}')
    };
    (text.trim() == text && !text.contains(is_invisible)).then_some(text)
}

/// Percent-encodes everything except letters and digits.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Decodes `%41` to `A`. A `%` without two hexadecimal digits is kept. Returns `None` if the result
/// is not UTF-8 or contains a NUL.
pub fn percent_decode(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.contains('\0')).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_of_any_kind_is_removed() {
        for text in ["a", "a\n", "a\r\n", "a\r"] {
            assert_eq!(single_line(text), Some("a"), "{text:?}");
        }
        assert_eq!(without_line_end("a\n\n"), "a\n");
    }

    #[test]
    fn a_blank_at_an_end_and_an_invisible_character_anywhere_are_refused() {
        for text in [" a", "a ", "a\n\n", "a\nb", "a\u{a0}\n", "\u{feff}a", "a\u{200b}b", "a\0b"] {
            assert_eq!(single_line(text), None, "{text:?}");
        }
        assert_eq!(single_line("a b"), Some("a b"));
    }

    #[test]
    fn a_percent_sign_that_begins_no_triple_is_kept() {
        assert_eq!(percent_decode("100%").as_deref(), Some("100%"));
        assert_eq!(percent_decode("%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(percent_decode("%41%c3%BC").as_deref(), Some("Aü"));
    }

    #[test]
    fn a_text_that_is_not_utf_8_or_contains_a_nul_is_refused() {
        assert_eq!(percent_decode("%ff"), None);
        assert_eq!(percent_decode("a%00"), None);
    }

    #[test]
    fn every_printable_character_can_be_encoded_and_decoded() {
        let text: String = (' '..='~').collect();
        assert_eq!(percent_decode(&percent_encode(&text)), Some(text));
    }
}
