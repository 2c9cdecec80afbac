//! The pragmas that a hook may set, and their values: settings of a connection that can be read
//! back.

/// A pragma that a hook may set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pragma {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// The values that a pragma accepts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Flag,
    /// A whole number in a range.
    Number(i64, i64),
    /// One of these words; SQLite reads some of them back as their index in this list.
    Word(&'static [&'static str]),
}

/// Finds a pragma by its name.
pub(crate) fn find(name: &str) -> Option<&'static Pragma> {
    PRAGMAS.iter().find(|pragma| pragma.name.eq_ignore_ascii_case(name))
}

/// Returns the pragma that was probably meant: at most a quarter of the written characters are
/// wrong.
pub(crate) fn nearest(written: &str) -> Option<&'static str> {
    const LONGEST: usize = 40;
    if written.len() > LONGEST {
        return None;
    }
    let written = written.to_ascii_lowercase();
    let names = PRAGMAS.iter().map(|pragma| pragma.name);
    let near = names.map(|name| (strsim::levenshtein(&written, name), name));
    near.filter(|(wrong, _)| wrong * 4 <= written.len()).min().map(|(_, name)| name)
}

const fn flag(name: &'static str) -> Pragma {
    Pragma { name, kind: Kind::Flag }
}

const fn number(name: &'static str, low: i64, high: i64) -> Pragma {
    Pragma { name, kind: Kind::Number(low, high) }
}

const fn word(name: &'static str, words: &'static [&'static str]) -> Pragma {
    Pragma { name, kind: Kind::Word(words) }
}

const INT: i64 = i32::MAX as i64;

/// See <https://www.sqlite.org/pragma.html>.
pub(crate) static PRAGMAS: [Pragma; 28] = [
    number("analysis_limit", 0, INT),
    word("auto_vacuum", &["none", "full", "incremental"]),
    flag("automatic_index"),
    number("busy_timeout", 0, INT),
    number("cache_size", -INT, INT),
    flag("cell_size_check"),
    flag("checkpoint_fullfsync"),
    flag("foreign_keys"),
    flag("fullfsync"),
    flag("ignore_check_constraints"),
    word("journal_mode", &["delete", "truncate", "persist", "memory", "wal", "off"]),
    number("journal_size_limit", -1, i64::MAX),
    flag("legacy_alter_table"),
    word("locking_mode", &["normal", "exclusive"]),
    number("max_page_count", 1, INT),
    number("mmap_size", 0, i64::MAX),
    number("page_size", 512, 65_536),
    flag("query_only"),
    flag("read_uncommitted"),
    flag("recursive_triggers"),
    flag("reverse_unordered_selects"),
    word("secure_delete", &["off", "on", "fast"]),
    number("soft_heap_limit", 0, i64::MAX),
    word("synchronous", &["off", "normal", "full", "extra"]),
    word("temp_store", &["default", "file", "memory"]),
    number("threads", 0, 64),
    flag("trusted_schema"),
    number("wal_autocheckpoint", 0, INT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        assert_eq!(find("Foreign_Keys").map(|pragma| pragma.name), Some("foreign_keys"));
        assert_eq!(find("foreign_keys; DROP TABLE t"), None);
        assert_eq!(find("foreign"), None);
    }

    #[test]
    fn a_misspelt_pragma_gets_a_suggestion_and_another_word_does_not() {
        assert_eq!(nearest("foreing_keys"), Some("foreign_keys"));
        assert_eq!(nearest("JournalMode"), Some("journal_mode"));
        assert_eq!(nearest("cache_sizes"), Some("cache_size"));
        assert_eq!(nearest("user_version"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        assert!(PRAGMAS.windows(2).all(|pair| matches!(pair, [a, b] if a.name < b.name)));
    }
}
