//! Patterns that must not occur in some files, each with what to write instead.
//!
//! Clippy rejects others: `todo!`, `dbg!`, `allow`, and the functions in `clippy.toml`.

use std::sync::LazyLock;

use regex::Regex;

use super::Violation;
use super::workspace::Workspace;

/// A regular expression that no line of some Rust files may match, the beginning of the files'
/// paths, and what to do instead.
type Pattern = (&'static str, &'static str, &'static str);

/// Paths in code, outside comments and strings.
const POOLS: &str = r#"^[^"/]*crate::pools\b"#;
const ENGINES: &str = r#"^[^"/]*crate::engine\b"#;

const ENGINE: &str = "crates/millpond-core/src/engine";
const LEDGER: &str = "crates/millpond-core/src/ledger";
const LAYERS: &str = "imports of the core go in one direction: pools, engine, ledger";
const PRIVATE: &str =
    "the ledger is private: read it by a method, change it by `Shared::change_at`";
const IGNORED: &str =
    "an ignored test is never run; let it print `SKIP` and the reason, or delete it";

const LEDGER_STATE: &str = "crates/millpond-core/src/ledger/state.rs";
const LEDGER_LOCK: &str = "crates/millpond-core/src/engine/shared.rs";
const UNFINISHED: &str = "do it now, or name the issue: `(#12)`";
const EXAMPLE: &str = "an ignored example is not compiled; mark it `no_run` or `text`";

const PATTERNS: [Pattern; 9] = [
    (POOLS, ENGINE, LAYERS),
    (POOLS, LEDGER, LAYERS),
    (ENGINES, LEDGER, LAYERS),
    // Fields of the ledger that are visible outside `ledger/`, and its lock.
    (r"^    pub(\((crate|in [^)]*)\))? \w+: ", LEDGER_STATE, PRIVATE),
    (r"^\s*pub.*Mutex<Ledger<", LEDGER_LOCK, PRIVATE),
    (r"^\s*#\[ignore", "", IGNORED),
    (r"^\s*#\[cfg_attr.* ignore", "", IGNORED),
    (r"//.*\b(TO[D]O|FIXM[E])\b(\([^#]|\(#\D|[^(]|$)", "", UNFINISHED),
    (r"^\s*//[/!]* *```([^`]*,)?\s*ignore\s*(,|$)", "", EXAMPLE),
];

static COMPILED: LazyLock<Vec<Regex>> =
    LazyLock::new(|| PATTERNS.iter().filter_map(|(regex, ..)| Regex::new(regex).ok()).collect());

/// None of the patterns is found where it is forbidden.
pub fn is_not_written(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        for ((_, within, message), regex) in PATTERNS.iter().zip(COMPILED.iter()) {
            if source.path.starts_with(within) {
                let lines = source.text.lines().enumerate();
                let found = lines.filter(|(_, line)| regex.is_match(line));
                let violation = |(at, _)| Violation::new(&source.path, at + 1, *message);
                violations.extend(found.map(violation));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "crates/a/src/lib.rs";

    fn check(path: &str, text: &str) -> usize {
        is_not_written(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn every_pattern_can_be_compiled() {
        assert_eq!(COMPILED.len(), PATTERNS.len());
    }

    #[test]
    fn prose_and_ordinary_code_pass() {
        for (path, text) in [
            (LEDGER_STATE, "/// See crate::engine.\nconst A: &str = \"crate::engine\";"),
            ("crates/millpond-core/src/pools/queue.rs", "use crate::engine::Engine;"),
            (
                LEDGER_STATE,
                "    pub(super) a: u8,\n    b: u8,\n    pub(crate) fn c(&self) -> &A {\n",
            ),
            (LEDGER_LOCK, "    ledger: Mutex<Ledger<M>>,\n"),
            (
                OTHER,
                "#[test]\nfn ignore() {\n    ignore();\n}\nconst A: &str = \"TODO\"; // AUTODOC\n",
            ),
            (OTHER, "// TODO(#12): later\n/// ```no_run\n/// ```\nfn a() {}\n"),
        ] {
            assert_eq!(check(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn every_pattern_is_caught() {
        for (path, text) in [
            (LEDGER_STATE, "fn a() -> crate::engine::Engine {}"),
            ("crates/millpond-core/src/engine/call.rs", "use crate::pools;"),
            ("crates/millpond-core/src/ledger/slots.rs", "use crate::pools::Pool;"),
            (LEDGER_STATE, "    pub(crate) config: PoolConfig,"),
            (LEDGER_STATE, "    pub config: PoolConfig,"),
            (LEDGER_LOCK, "    pub ledger: Mutex<Ledger<M>>,"),
            (OTHER, "#[test]\n#[ignore]\nfn a() {}"),
            (OTHER, "#[ignore = \"slow\"]\nfn b() {}"),
            (OTHER, "#[cfg_attr(miri, ignore)]\nfn a() {}"),
            (OTHER, "/// ```ignore\n/// ```\nfn b() {}"),
            (OTHER, "//! ```rust,ignore\n//! ```"),
            (OTHER, &["// TO", "DO: later"].concat()),
            (OTHER, &["a(); // FIX", "ME"].concat()),
            (OTHER, &["/// TO", "DO(me): x\nfn a() {}"].concat()),
        ] {
            assert_eq!(check(path, text), 1, "{path}: {text}");
        }
    }
}
