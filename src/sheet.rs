//! Text in the cells of a CSV file, safe for whoever opens it in a spreadsheet.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula and runs it; what
//! programs posted must not (OWASP, "CSV Injection"). Such text gets an apostrophe before it, which spreadsheets take for
//! "this is text". Numbers are not text and stay as they are.

use std::borrow::Cow;

/// The text as it may stand in a cell. [`bare`] takes it back.
pub fn cell(text: &str) -> Cow<'_, str> {
    if is_formula(text) { format!("'{text}").into() } else { text.into() }
}

/// The text of a cell that [`cell`] made, or that somebody wrote.
pub fn bare(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(cell)
}

/// What has apostrophes before it gets one more, so that none is lost on the way back.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_become_text() {
        for text in ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "'=1"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        for text in ["", "a=1", "1", "'word", "http://host/?a=1", " =1"] {
            assert_eq!(cell(text), text);
        }
        assert_eq!((bare("'word"), bare("'"), bare("'=1")), ("'word", "'", "=1"));
    }

    proptest! {
        #[test]
        fn text_comes_back(text in "[='+@a\t-]{0,6}") {
            let cell = cell(&text);
            prop_assert_eq!(bare(&cell), &text);
        }
    }
}
