//! What may not be written, and where: a table of patterns, each with what to write instead.
//!
//! Clippy refuses the rest: `todo!`, `dbg!`, `allow`, and the functions of `clippy.toml`.

use std::sync::LazyLock;

use regex::Regex;

use super::Violation;
use super::workspace::Workspace;

/// A pattern that no line of some Rust files may match.
struct Pattern {
    /// A path in code, or an expression.
    what: What,
    /// The files: all whose paths begin with this,
    within: &'static str,
    /// except those whose paths begin with one of these.
    except: &'static [&'static str],
    message: &'static str,
}

enum What {
    /// A path such as `tokio::`, outside comments and strings.
    Path(&'static str),
    /// An expression for the whole line.
    Line(&'static str),
}

use What::{Line, Path};

const CORE: &str = "crates/millpond-core/src/";
const ENGINE: &str = "crates/millpond-core/src/engine";
const LEDGER: &str = "crates/millpond-core/src/ledger";
const ROOMS: &str = "the core's rooms name each other in one direction: pools, engine, ledger";
const PRIVATE: &str =
    "the ledger is private: read it by a method, change it by `Shared::change_at`";
const IGNORED: &str =
    "an ignored test is never run; print `SKIP` and why where it cannot run, or delete it";

const LEDGER_STATE: &str = "crates/millpond-core/src/ledger/state.rs";
const LEDGER_LOCK: &str = "crates/millpond-core/src/engine/shared.rs";
const CONFIG: &str = "crates/millpond-config/";
const PROMISE: &str =
    "a promise without an issue is forgotten; do it now, or name the issue: `(#12)`";
const EXAMPLE: &str = "an ignored example rots; let it run, or mark it `no_run` or `text`";

const PATTERNS: [Pattern; 12] = [
    pattern(Path("tokio::"), CORE, &["crates/millpond-core/src/proof.rs"], "use `crate::rt`"),
    pattern(Path("loom::"), CORE, &[], "use `crate::rt::lock`"),
    pattern(Path("figment::"), "", &[CONFIG, "xtask/src/tidy/"], "use millpond-config"),
    pattern(Path("crate::pools"), ENGINE, &[], ROOMS),
    pattern(Path("crate::pools"), LEDGER, &[], ROOMS),
    pattern(Path("crate::engine"), LEDGER, &[], ROOMS),
    // A field of the ledger that can be seen outside its room, and the lock it lies under.
    pattern(Line(r"^    pub(\((crate|in [^)]*)\))? \w+: "), LEDGER_STATE, &[], PRIVATE),
    pattern(Line(r"^\s*pub.*Mutex<Ledger<"), LEDGER_LOCK, &[], PRIVATE),
    pattern(Line(r"^\s*#\[ignore"), "", &[], IGNORED),
    pattern(Line(r"^\s*#\[cfg_attr.* ignore"), "", &[], IGNORED),
    pattern(Line(r"//.*\b(TO[D]O|FIXM[E])\b(\([^#]|\(#\D|[^(]|$)"), "", &[], PROMISE),
    pattern(Line(r"^\s*//[/!]* *```([^`]*,)?\s*ignore\s*(,|$)"), "", &[], EXAMPLE),
];

const fn pattern(
    what: What,
    within: &'static str,
    except: &'static [&'static str],
    message: &'static str,
) -> Pattern {
    Pattern { what, within, except, message }
}

static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let regex = |pattern: &Pattern| match pattern.what {
        // No comment and no string stands before it on the line.
        Path(path) => {
            let import = path.trim_end_matches(':');
            format!(r#"^([^/"]|/[^/])*?(^|[^\w:"`])({path}|use {import};)"#)
        }
        Line(expression) => expression.to_owned(),
    };
    PATTERNS.iter().filter_map(|pattern| Regex::new(&regex(pattern)).ok()).collect()
});

/// None of the patterns is found where it is forbidden.
pub fn is_not_written(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let applies = |pattern: &Pattern| {
            source.path.starts_with(pattern.within)
                && !pattern.except.iter().any(|place| source.path.starts_with(place))
        };
        for (pattern, regex) in PATTERNS.iter().zip(COMPILED.iter()) {
            if applies(pattern) {
                let lines = source.text.lines().enumerate();
                let found = lines.filter(|(_, line)| regex.is_match(line));
                let violation = |(at, _)| Violation::new(&source.path, at + 1, pattern.message);
                violations.extend(found.map(violation));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "crates/millpond-core/src/pool.rs";
    const OTHER: &str = "crates/a/src/lib.rs";

    fn check(path: &str, text: &str) -> usize {
        is_not_written(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn every_pattern_can_be_compiled() {
        assert_eq!(COMPILED.len(), PATTERNS.len());
    }

    #[test]
    fn the_one_place_prose_and_ordinary_code_pass() {
        for (path, text) in [
            ("crates/millpond-core/src/proof.rs", "use tokio::time;"),
            (POOL, "/// See tokio::time.\nconst A: &str = \"tokio::time\";"),
            ("crates/millpond-core/tests/it/main.rs", "#[tokio::test] async fn a() {}"),
            ("crates/millpond-config/src/lib.rs", "pub use figment;"),
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
    fn any_other_place_is_caught() {
        for (path, text) in [
            (POOL, "use tokio::time;"),
            (POOL, "#[tokio::test]\nasync fn a() {}"),
            (POOL, "fn a() { loom::model(b) }"),
            ("crates/millpond/src/lib.rs", "pub use figment;"),
            ("crates/millpond/src/lib.rs", "fn a() -> figment::Figment {}"),
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
