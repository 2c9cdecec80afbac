//! Names of other crates that only one place of ours may know, so that it alone changes with them.

use super::Violation;
use super::workspace::Workspace;

/// A name, and where it may stand.
struct Name {
    name: &'static str,
    /// Below this path it may not be named ...
    within: &'static str,
    /// ... except in this file or directory.
    except: &'static str,
    cure: &'static str,
}

const NAMES: [Name; 3] = [
    Name {
        name: "tokio",
        within: "crates/millpond-core/src/",
        except: "crates/millpond-core/src/rt.rs",
        cure: "use `crate::rt`, or move the test to tests/it",
    },
    Name {
        name: "loom",
        within: "crates/millpond-core/src/",
        except: "crates/millpond-core/src/rt/lock.rs",
        cure: "use `crate::sync`",
    },
    Name { name: "figment", within: "", except: "crates/millpond-config/", cure: "use what millpond-config returns" },
];

/// Each name stands in code only where the table says. Prose is free, and so is `cfg(loom)`, which names no crate.
pub fn stay_in_their_file(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let path = &source.path;
        for Name { name, except, cure, .. } in
            NAMES.iter().filter(|name| path.starts_with(name.within) && !path.starts_with(name.except))
        {
            let named = source.tokens.iter().filter(|token| token.is(name) && !token.place.condition);
            let message = format!("only {except} may name `{name}`; {cure}");
            violations.extend(named.map(|token| Violation::new(path, token.lines.0, message.as_str())));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        stay_in_their_file(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn the_one_file_and_prose_pass() {
        assert_eq!(check("crates/millpond-core/src/rt.rs", "use tokio::time;"), 0);
        assert_eq!(check("crates/millpond-core/src/pool.rs", "/// See tokio.\nconst A: &str = \"tokio\";"), 0);
        assert_eq!(check("crates/millpond-core/src/pool.rs", "#[cfg(not(loom))] fn a() {}"), 0);
        assert_eq!(check("crates/millpond-core/tests/it/main.rs", "#[tokio::test] async fn a() {}"), 0);
        assert_eq!(check("crates/millpond-config/src/lib.rs", "use figment::Figment;"), 0);
    }

    #[test]
    fn any_other_file_is_caught() {
        assert_eq!(check("crates/millpond-core/src/pool.rs", "use tokio::time;"), 1);
        assert_eq!(check("crates/millpond-core/src/pool.rs", "#[tokio::test] async fn a() {}"), 1);
        assert_eq!(check("crates/millpond-core/src/slot.rs", "fn a() { loom::model(b) }"), 1);
        assert_eq!(check("crates/millpond/src/lib.rs", "pub use figment;"), 1);
    }
}
