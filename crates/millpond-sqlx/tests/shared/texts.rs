//! Texts that no SQL generator would write: where millpond expects that a text leaves no
//! transaction open, the server must confirm it.
//!
//! A few thousand texts here; set `MILLPOND_TEXTS=1000000` for a long run, and
//! `MILLPOND_TEXTS_SEED` for other texts.

use millpond_sqlx::backend_api::{StatementEffect, effect_of};
use std::env;

/// Blanks, for at least one server, and characters that only look like blanks.
const BLANKS: [&str; 15] = [
    " ", " ", "\n", "\n", "\r", "\r\n", "\t", "\u{b}", "\u{c}", "\u{85}", "\u{a0}", "\u{2028}",
    "\u{feff}", "\u{3000}", "\0",
];
/// Everything that begins or ends a comment, a string or a name for some server.
const MARKS: [&str; 33] = [
    "--",
    "-- ",
    "--\r",
    "--\n",
    "/*",
    "*/",
    "/*",
    "*/",
    "/*/",
    "*",
    "/",
    "/*!",
    "/*M!",
    "/*!50000 ",
    "/*!99999 ",
    "/*+",
    "#",
    "# ",
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    "$$",
    "$a$",
    "E'",
    "U&'",
    "[",
    "]",
    "!",
    ";",
    "(",
];
const CLEAN: [&str; 8] = [
    "SELECT 1",
    "select 1",
    "VALUES (1)",
    "WITH a AS (SELECT 1) SELECT 1 FROM a",
    "INSERT INTO millpond_texts VALUES (1)",
    "UPDATE millpond_texts SET i = 2",
    "DELETE FROM millpond_texts",
    "SELECT i FROM millpond_texts",
];
const OTHERS: [&str; 12] = [
    "BEGIN",
    "BEGIN",
    "begin",
    "START TRANSACTION",
    "SAVEPOINT a",
    "COMMIT AND CHAIN",
    "COMMIT",
    "ROLLBACK",
    "SET autocommit = 0",
    "SET completion_type = 1",
    "DELIMITER",
    "BEGIN NOT ATOMIC",
];

fn one<'a>(list: &[&'a str]) -> &'a str {
    list[fastrand::usize(..list.len())]
}

/// Adds blanks and comments, most of them complete, which may contain statements.
fn gap(text: &mut String) {
    for _ in 0..fastrand::usize(..4) {
        match fastrand::u8(..16) {
            0..7 => text.push_str(one(&BLANKS)),
            7..10 => {
                text.push_str(one(&["-- ", "--", "--\r", "#"]));
                text.push_str(one(&[
                    "",
                    "SELECT 1",
                    "BEGIN",
                    "/*",
                    "*/",
                    "\r",
                    "\rBEGIN",
                    "\rBEGIN/*",
                    "a\r",
                ]));
                text.push_str(one(&["\n", "\n", "\r\n", "\r"]));
            }
            10..13 => {
                text.push_str(one(&["/*", "/*", "/*/", "/**", "/*!", "/*M!", "/*!99999 ", "/*+"]));
                text.push_str(one(&[
                    "",
                    "/",
                    "*",
                    " /* ",
                    "/*",
                    "/*/",
                    " SELECT 1 ",
                    " BEGIN ",
                    "\n",
                    "'",
                    "--",
                ]));
                text.push_str(one(&["*/", "*/", "**/", "*//", "*/ */", "*/*/"]));
            }
            13..15 => text.push_str(one(&MARKS)),
            _ => text.push_str(one(&OTHERS)),
        }
    }
}

fn text() -> String {
    let mut text = String::new();
    if fastrand::u8(..8) == 0 {
        for _ in 0..fastrand::usize(1..10) {
            let list: [&[&str]; 4] = [&BLANKS, &MARKS, &CLEAN, &OTHERS];
            text.push_str(one(list[fastrand::usize(..list.len())]));
        }
        return text;
    }
    gap(&mut text);
    text.push_str(one(if fastrand::u8(..3) == 0 { &OTHERS } else { &CLEAN }));
    for _ in 0..[0, 0, 1, 2][fastrand::usize(..4)] {
        gap(&mut text);
        text.push_str(one(&["", ";", " AND ", "\n"]));
        gap(&mut text);
        text.push_str(one(if fastrand::bool() { &OTHERS } else { &CLEAN }));
    }
    gap(&mut text);
    text
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// `leaves_open` executes a text, returns true if a transaction is open after it, and rolls that
/// back.
pub async fn no_clean_text_leaves_anything_open(mut leaves_open: impl AsyncFnMut(&str) -> bool) {
    let (count, seed) = (number("MILLPOND_TEXTS", 8_000), number("MILLPOND_TEXTS_SEED", 4711));
    fastrand::seed(seed);
    let (mut clean, mut opened, mut holes) = (0_u64, 0_u64, Vec::new());
    for n in 0..count {
        let text = text();
        let is_clean = effect_of(&text) == StatementEffect::None;
        clean += u64::from(is_clean);
        // A sample of the other texts is enough to show that the check finds something.
        if (is_clean || n % 8 == 0) && leaves_open(&text).await {
            opened += 1;
            if is_clean {
                holes.push(text);
            }
        }
    }
    println!(
        "seed {seed}: {count} texts, {clean} judged clean, {opened} left something open, {} holes",
        holes.len()
    );
    let some: Vec<_> = holes.iter().take(10).collect();
    assert!(holes.is_empty(), "seed {seed}: {} holes, such as {some:?}", holes.len());
    assert!(clean > count / 10 && opened > count / 1000, "texts that show nothing");
}
