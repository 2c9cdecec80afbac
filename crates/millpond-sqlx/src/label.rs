//! The holder of a query on a pool: the first words of its statement, never a value.
//!
//! sqlx does not pass on the location that called `fetch_one(&pool)`. A label lives as long as the
//! process, so their number is limited. Each thread caches some by the address of the statement's
//! text, so that a repeated statement costs one comparison and no lock.
//!
//! Measured in one loop on PostgreSQL, a query on a pool takes as long as one on a lease acquired
//! for it, 31 to 37 us: the look-up costs less than the difference between runs.

use crate::sql_text::label_of;
use millpond_core::Request;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The most labels in a process; statements beyond that are labelled [`OTHER`].
const LABELS_MAX: usize = 4_096;

/// How many labels a thread caches.
const REMEMBERED: usize = 64;

/// All labels, which are prefixes of statements.
static LABELS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

thread_local! {
    static LAST: [Cell<&'static str>; REMEMBERED] = const { [const { Cell::new("") }; REMEMBERED] };
}

/// Returns the request of a query on the pool.
pub(crate) fn request(sql: &str) -> Request {
    Request::here().labelled(label(sql))
}

fn label(sql: &str) -> &'static str {
    let sql = sql.trim_ascii_start();
    let index = (sql.as_ptr().addr() >> 3) % REMEMBERED;
    let remembered = LAST.try_with(|last| {
        let last = last.get(index)?;
        let label = last.get();
        if label.is_empty() || !sql.starts_with(label) {
            last.set(intern(label_of(sql)));
        }
        Some(last.get())
    });
    remembered.ok().flatten().unwrap_or(OTHER)
}

/// The label of a statement that does not begin with a word, or for which there are too many
/// labels.
const OTHER: &str = "a query";

/// Returns the static label with these words.
fn intern(words: &str) -> &'static str {
    if words.is_empty() {
        return OTHER;
    }
    let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
    let labels = labels.get_or_insert_default();
    if let Some(label) = labels.get(words) {
        return label;
    }
    if labels.len() >= LABELS_MAX {
        return OTHER;
    }
    let label: &'static str = Box::leak(words.into());
    labels.insert(label);
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_first_words_and_no_value() {
        for (sql, expected) in [
            ("SELECT name FROM ponds WHERE id = 7", "SELECT name FROM ponds WHERE id"),
            ("  \n SELECT 1", "SELECT"),
            ("SELECT 'secret'", "SELECT"),
            ("INSERT INTO users VALUES ('bob', 'secret')", "INSERT INTO users VALUES"),
            ("UPDATE users SET password='secret'", "UPDATE users SET password"),
            ("SET app.token TO secret", "SET"),
            ("ALTER ROLE bob PASSWORD secret", "ALTER"),
            ("PRAGMA key = secret", "PRAGMA"),
            ("-- secret\nSELECT 1", "a query"),
            ("/* secret */ SELECT 1", "a query"),
            ("\u{fffd}", "a query"),
            ("", "a query"),
            ("select a, b.c, count(*) from t", "select a, b.c, count"),
            ("SELECT \"secret\"", "SELECT"),
            ("DELETE FROM t LIMIT 5", "DELETE FROM t LIMIT"),
        ] {
            assert_eq!(label(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_text_at_the_address_of_another_has_its_own_label() {
        let mut text = String::from("SELECT a FROM ponds");
        assert_eq!(label(&text), "SELECT a FROM ponds");
        text.replace_range(.., "DELETE FROM a ponds");
        assert_eq!(label(&text), "DELETE FROM a ponds");
    }

    #[test]
    fn the_number_of_labels_is_limited() {
        for n in 0..10_000 {
            let text = format!("SELECT column_{n} FROM t");
            assert!(text.starts_with(label(&text)) || label(&text) == OTHER);
        }
        assert!(LABELS.lock().unwrap().as_ref().is_some_and(|labels| labels.len() <= LABELS_MAX));
    }
}
