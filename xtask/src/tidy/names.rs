//! Paths that only some places may name, so that they alone change with what the paths lead to.

use super::Violation;
use super::workspace::Workspace;

/// A path, and where it may be named.
struct Name {
    path: &'static str,
    /// It may not be named below this path,
    within: &'static str,
    /// except in these files or directories.
    except: &'static [&'static str],
    cure: &'static str,
}

const CORE: &str = "crates/millpond-core/src/";
const ROOMS: &str =
    "the rooms of the core know each other in one direction: pools, engine, ledger, rt";

const NAMES: [Name; 9] = [
    only(
        "tokio::",
        CORE,
        &["crates/millpond-core/src/rt.rs"],
        "use `crate::rt`, or move the test to tests/it",
    ),
    only("loom::", CORE, &["crates/millpond-core/src/rt/lock.rs"], "use `crate::rt::lock`"),
    only(
        "figment::",
        "",
        &["crates/millpond-config/", "xtask/src/tidy/"],
        "use what millpond-config returns",
    ),
    only("crate::pools", "crates/millpond-core/src/engine", &[], ROOMS),
    only("crate::pools", "crates/millpond-core/src/ledger", &[], ROOMS),
    only("crate::engine", "crates/millpond-core/src/ledger", &[], ROOMS),
    only("crate::engine", "crates/millpond-core/src/rt", &[], ROOMS),
    only("crate::pools", "crates/millpond-core/src/rt", &[], ROOMS),
    only("crate::ledger", "crates/millpond-core/src/rt", &[], ROOMS),
];

const fn only(
    path: &'static str,
    within: &'static str,
    except: &'static [&'static str],
    cure: &'static str,
) -> Name {
    Name { path, within, except, cure }
}

/// Each path stands in code only where the table says. Comments are free.
pub fn stay_in_their_place(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let file = source.path.as_str();
        let applies = |name: &&Name| {
            file.starts_with(name.within)
                && !name.except.iter().any(|place| file.starts_with(place))
        };
        for name in NAMES.iter().filter(applies) {
            let lines = source.text.lines().enumerate().filter(|(_, line)| names(line, name.path));
            let message = format!("`{}` may not be named here: {}", name.path, name.cure);
            violations.extend(lines.map(|(at, _)| Violation::new(file, at + 1, message.as_str())));
        }
    }
    violations
}

/// Whether the code on this line names the path.
fn names(line: &str, path: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_start = |at: usize| {
        !code
            .get(..at)
            .unwrap_or_default()
            .ends_with(|c: char| c.is_alphanumeric() || "_:\"`".contains(c))
    };
    let imported =
        path.strip_suffix("::").is_some_and(|name| code.trim().ends_with(&format!("use {name};")));
    imported || code.match_indices(path).any(|(at, _)| is_start(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        stay_in_their_place(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn the_one_place_and_prose_pass() {
        assert_eq!(check("crates/millpond-core/src/rt.rs", "use tokio::time;"), 0);
        assert_eq!(
            check(
                "crates/millpond-core/src/pool.rs",
                "/// See tokio::time.\nconst A: &str = \"tokio::time\";"
            ),
            0
        );
        assert_eq!(
            check("crates/millpond-core/tests/it/main.rs", "#[tokio::test] async fn a() {}"),
            0
        );
        assert_eq!(check("crates/millpond-config/src/lib.rs", "pub use figment;"), 0);
        assert_eq!(
            check("crates/millpond-core/src/pools/queue.rs", "use crate::engine::Engine;"),
            0
        );
    }

    #[test]
    fn any_other_place_is_caught() {
        assert_eq!(check("crates/millpond-core/src/pool.rs", "use tokio::time;"), 1);
        assert_eq!(check("crates/millpond-core/src/pool.rs", "#[tokio::test]\nasync fn a() {}"), 1);
        assert_eq!(check("crates/millpond-core/src/slot.rs", "fn a() { loom::model(b) }"), 1);
        assert_eq!(check("crates/millpond/src/lib.rs", "pub use figment;"), 1);
        assert_eq!(check("crates/millpond/src/lib.rs", "fn a() -> figment::Figment {}"), 1);
        assert_eq!(check("crates/millpond-core/src/ledger/slots.rs", "use crate::pools::Pool;"), 1);
    }
}
