//! Which crates a crate of this workspace may be built with: the table, compared with the
//! manifests.
//!
//! Dependencies of tests are not restricted, so `millpond-testkit` may be one anywhere.

use super::Violation;
use super::workspace::Workspace;
use crate::cargo::Package;

/// The dependencies that a crate may be built with.
enum Allowed {
    /// No crates but these. Every user of millpond builds such a crate.
    Exactly(&'static [&'static str]),
    /// Of this workspace only these crates.
    Ours(&'static [&'static str]),
    /// Of this workspace all crates but these.
    AllBut(&'static [&'static str]),
}

use Allowed::{AllBut, Exactly, Ours};

const BACKEND: Allowed = Ours(&["millpond-core", "millpond-sqlx", "millpond-url"]);

const ROWS: [(&str, Allowed); 24] = [
    ("millpond-advice", Exactly(&["millpond-settings"])),
    ("millpond-settings", Exactly(&[])),
    // loom only for the models.
    ("millpond-runtime", Exactly(&["coarsetime", "loom", "spin", "tokio"])),
    (
        "millpond-core",
        Exactly(&[
            "async-trait",
            "fastrand",
            "millpond-observe",
            "millpond-runtime",
            "millpond-settings",
            "tracing",
        ]),
    ),
    ("millpond-observe", Exactly(&["millpond-runtime"])),
    ("millpond-url", Ours(&[])),
    ("millpond-shared", Ours(&["millpond-core", "millpond-runtime"])),
    ("millpond-compat", Ours(&["millpond-core"])),
    ("millpond-testkit", Ours(&["millpond-core", "millpond-shared"])),
    ("millpond-config", Ours(&["millpond-settings", "millpond-url"])),
    ("millpond-sqlx", Ours(&["millpond-core", "millpond-url"])),
    ("millpond-sqlite", BACKEND),
    ("millpond-postgres", BACKEND),
    ("millpond-mysql", BACKEND),
    (
        "millpond-redis",
        Ours(&["millpond-core", "millpond-runtime", "millpond-shared", "millpond-url"]),
    ),
    ("millpond-cache", Ours(&["millpond-core", "millpond-redis"])),
    ("millpond-ratelimit", Ours(&["millpond-config", "millpond-core", "millpond-redis"])),
    ("millpond-inspect", Ours(&["millpond-core"])),
    ("millpond-metrics", Ours(&["millpond-core", "millpond-shared"])),
    ("millpond", AllBut(&["millpond-cli", "millpond-testkit", "xtask", "benches", "soak"])),
    ("millpond-cli", Ours(&["millpond"])),
    ("benches", AllBut(&["millpond-cli", "xtask", "soak"])),
    ("soak", AllBut(&["millpond-cli", "xtask", "benches"])),
    // It must run when the other crates do not compile.
    ("xtask", Ours(&[])),
];

/// The table allows every dependency of the crates of this workspace.
pub fn only_allowed_dependencies(workspace: &Workspace) -> Vec<Violation> {
    let ours: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in workspace.packages.iter().filter(|package| !package.name.is_empty()) {
        let (name, manifest) = (package.name.as_str(), &package.manifest_path);
        let Some((_, allowed)) = ROWS.iter().find(|(row, _)| *row == name) else {
            let message =
                format!("`{name}` is not in the table; add its row to xtask/src/tidy/arrows.rs");
            violations.push(Violation::new(manifest, 1, message));
            continue;
        };
        let built = package.dependencies.iter().filter(|it| it.kind.as_deref() != Some("dev"));
        for dependency in built.map(|dependency| dependency.name.as_str()) {
            if let Some(help) = refusal(name, allowed, dependency, ours.contains(&dependency)) {
                let message = format!("`{name}` must not depend on `{dependency}`; {help}");
                let line = line_of(workspace, package, dependency);
                violations.push(Violation::new(manifest, line, message));
            }
        }
    }
    violations
}

/// Returns what to do instead if a dependency is not allowed.
fn refusal(name: &str, allowed: &Allowed, dependency: &str, is_ours: bool) -> Option<&'static str> {
    let is_allowed = match allowed {
        Exactly(list) => list.contains(&dependency),
        // Only one crate reads settings.
        _ if !is_ours => dependency != "figment" || name == "millpond-config",
        Ours(list) => list.contains(&dependency),
        AllBut(list) => !list.contains(&dependency),
    };
    match allowed {
        _ if is_allowed => None,
        _ if dependency == "millpond-testkit" => Some("make it a dev-dependency"),
        _ if dependency == "figment" => Some("only `millpond-config` reads settings"),
        Exactly(_) if !is_ours => {
            Some("every user builds it: it may use only what the table lists")
        }
        _ => Some("move the code to a crate that may, or give the reason in docs/design.md"),
    }
}

/// Returns the first line of the manifest that names the dependency, or line 1.
fn line_of(workspace: &Workspace, package: &Package, dependency: &str) -> usize {
    let manifest = workspace.texts.get(&package.manifest_path).map_or("", String::as_str);
    let names = |line: &str| {
        let rest = line.trim_start().strip_prefix(dependency);
        rest.is_some_and(|rest| rest.starts_with([' ', '=', '.']))
    };
    manifest.lines().position(names).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn check(packages: &[(&str, &[&str])]) -> Vec<String> {
        let built = |&name: &&str| Dependency { name: name.to_owned(), kind: None };
        let package = |(name, dependencies): &(&str, &[&str])| Package {
            name: (*name).to_owned(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            dependencies: dependencies.iter().map(built).collect(),
            targets: Vec::new(),
        };
        let manifest = "[dependencies]\nmillpond-cli = \"1\"\n";
        let mut workspace = Workspace::of(&[("crates/millpond/Cargo.toml", manifest)]);
        workspace.packages = packages.iter().map(package).collect();
        let found = only_allowed_dependencies(&workspace).into_iter();
        found.map(|violation| format!("{}: {}", violation.line, violation.message)).collect()
    }

    #[test]
    fn dependencies_in_the_table_pass() {
        let found = check(&[
            ("millpond-core", &["fastrand", "tracing"]),
            ("millpond-sqlx", &["millpond-core", "sqlx"]),
            ("millpond-sqlite", &["millpond-core", "millpond-sqlx", "sqlx"]),
            ("millpond-config", &["millpond-settings", "figment", "serde"]),
            ("millpond", &["millpond-core", "millpond-sqlite", "millpond-config"]),
            ("benches", &["millpond", "millpond-testkit"]),
            ("millpond-testkit", &["millpond-core"]),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn other_dependencies_are_caught_on_their_lines() {
        type Packages<'a> = &'a [(&'a str, &'a [&'a str])];
        let wrong: [(Packages<'_>, &str); 8] = [
            (&[("millpond-core", &["tokio"])], "may use only"),
            (&[("millpond-core", &["serde"])], "may use only"),
            (&[("millpond-redis", &["figment"])], "only `millpond-config`"),
            (&[("millpond-cli", &["millpond-core"]), ("millpond-core", &[])], "must not depend"),
            (&[("millpond-sqlite", &["millpond-mysql"]), ("millpond-mysql", &[])], "move the code"),
            (&[("millpond-sqlx", &["millpond-testkit"]), ("millpond-testkit", &[])], "a dev-dep"),
            (&[("millpond-new", &[])], "not in the table"),
            (&[("millpond", &["millpond-cli"]), ("millpond-cli", &[])], "2: "),
        ];
        for (packages, expected) in wrong {
            let found = check(packages);
            assert!(found.first().is_some_and(|found| found.contains(expected)), "{found:?}");
        }
    }
}
