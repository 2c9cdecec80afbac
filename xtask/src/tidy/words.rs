//! Banned words, phrases and replaced names, with what to write instead.

use std::sync::LazyLock;

use regex::Regex;

use super::Violation;
use super::workspace::Workspace;

/// Regular expressions for words and phrases, and what to write instead. They are matched against
/// the words of a file in lower case, with identifiers split into words.
const PHRASES: [(&str, &str); 34] = [
    ("whoever|whomever", "the caller, a client, a task"),
    ("he|him|his|himself", "it, its; they, their"),
    ("(is|are|was|were|be|been|being) told", "gets, sees, is reported"),
    ("to be had", "available, supported"),
    ("who comes?", "the next caller, callers, clients"),
    ("in vain", "without a result"),
    ("what is to be", "what must be"),
    ("keeps? house", "runs the maintenance task"),
    ("(come|comes|came) to an end", "finished, ended"),
    ("keepers?", "the maintenance task"),
    ("aftermath", "effects; ErrorImpact"),
    ("examin(e|es|ed|ing|ation)", "validate, validates, validated, validation"),
    ("pro(ve|ves|ved|ving)", "verify, verifies; validate, validates"),
    ("unproven", "unverified; untested"),
    ("errands?", "a cancel; a connection past the pool"),
    ("enclosures?", "TransactionWrapper"),
    ("tellers?", "the reporter"),
    ("seats?", "a waiter cell"),
    ("gifts?", "a grant"),
    ("stamps?", "the event context"),
    ("tell every", "REPORT_INTERVAL"),
    ("brakes?", "the interrupt flag"),
    ("sees? to it|sisters?|amiss", "checks, ensures; related; wrong"),
    ("calmly", "catch_panic"),
    ("farewells?|goodbye", "a clean close"),
    ("dozes?", "sleeps"),
    ("landlords?", "a slot's pool"),
    ("pool s home", "the pool's runtime"),
    ("told|tells?|telling", "gets, sees; reports, returns, shows; distinguishes"),
    ("deeds?", "an operation, an action"),
    ("way out", "how to fix it"),
    ("(in|out of) step", "in sync, out of sync"),
    ("be had", "available, supported"),
    ("for good", "permanently"),
];

/// Replaced names, each with the new one.
const NAMES: &str = "CLOSE_LIMIT=DEFAULT_CLOSE_TIMEOUT CreateError=ConnectError \
    DatabaseLink=AnyConnection Fault=ErrorClass Home=LeaseOwner Moment=HookPoint \
    Moments=HookPoints HomeEnded=RuntimeShutDown NotKept=NotPooled PLACES_MAX=MAX_CONNECTIONS \
    PoolLink=WeakPoolHandle Standing=SyncState Suspicion=FailoverDetector Unproven=Unverified \
    home_stalled=runtime_stalled_for loans_in_turn=acquires_per_turn set_for=set_with_ttl \
    standing=sync_state Aftermath=ErrorImpact Enclosure=TransactionWrapper Errand=CancelTransport \
    Escaped=HandleLeaked InStep=InSync Stopping=PendingCancel Watched=TrackedStream \
    with_brake=with_interrupt_flag kept_by=on_drop worsen=degrade unsuited=unsupported_settings";

/// This file contains the banned words.
const EXCEPT: &str = "xtask/src/tidy/words.rs";

/// A single expression with a group for each phrase.
static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let groups = PHRASES.map(|(phrase, _)| format!("({})", phrase.replace('(', "(?:")));
    Regex::new(&format!(" (?:{}) ", groups.join("|"))).ok()
});

/// Code, comments, messages and pages contain no banned word.
pub fn are_plain(workspace: &Workspace) -> Vec<Violation> {
    let sources = workspace.sources.iter().map(|it| (it.path.as_str(), it.text.as_str()));
    let texts = workspace.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let files = sources.chain(texts).filter(|(path, _)| *path != EXCEPT);
    files.flat_map(|(path, text)| check(path, text)).collect()
}

fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (words, lines) = words(text);
    for found in PATTERN.iter().flat_map(|pattern| pattern.captures_iter(&words)) {
        let rows = PHRASES.iter().zip(found.iter().skip(1));
        for ((_, plain), found) in rows.filter_map(|(row, group)| Some((row, group?))) {
            let at = words.get(..found.start()).map_or(0, |before| before.matches(' ').count());
            let line = lines.get(at.saturating_sub(1)).copied().unwrap_or(1);
            let phrase = found.as_str();
            let message = format!("`{phrase}` is banned; write for example: {plain}");
            violations.push(Violation::new(path, line, message));
        }
    }
    for (line, identifier) in identifiers(text) {
        let mut names = NAMES.split(' ').filter_map(|name| name.split_once('='));
        if let Some((old, new)) = names.find(|(old, _)| *old == identifier) {
            violations.push(Violation::new(path, line, format!("`{old}` is now called {new}")));
        }
    }
    violations
}

/// Returns the identifiers and words of a text, with their lines.
pub fn identifiers(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').map(move |name| (at + 1, name))
    })
}

/// Returns the words of a text in lower case, separated by spaces, and the line of each.
/// Identifiers are split at underscores and capitals.
fn words(text: &str) -> (String, Vec<usize>) {
    let (mut words, mut lines) = (String::from(" "), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let mut previous = ' ';
        for c in line.chars().chain([' ']) {
            let ends = !c.is_alphabetic() || (c.is_uppercase() && previous.is_lowercase());
            if ends && previous.is_alphabetic() {
                words.push(' ');
                lines.push(at + 1);
            }
            if c.is_alphabetic() {
                words.extend(c.to_lowercase());
            }
            previous = c;
        }
    }
    (words, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let violations = are_plain(&Workspace::of(&[("crates/a/src/lib.rs", text)]));
        violations.into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn other_words_with_the_same_beginning_pass() {
        let text =
            "// The caller gets an error; heap, history, improved, untold, retold, indeed.\n";
        assert_eq!(lines(text), [0; 0]);
    }

    #[test]
    fn words_phrases_and_parts_of_identifiers_are_caught() {
        let text = "// Whoever asks.\nfn a_caller_is_told_why() {}\nstruct PoolKeeper;\n";
        assert_eq!(lines(text), [1, 2, 3]);
        let text = "let a = \"this is not to be had\";\n/// The pool is\n/// told.\n";
        assert_eq!(lines(text), [1, 2]);
        let text =
            "// It tells\nfn one_deed() {}\n// the way\n// out, and in step\n// and for good\n";
        assert_eq!(lines(text), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_replaced_name_is_caught_and_a_longer_one_passes() {
        assert_eq!(lines("fn a(moment: Moment, other: Moments2) {}\n"), [1]);
    }
}
