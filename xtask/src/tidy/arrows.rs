//! Which crate of ours may be built with which: the table, compared with the manifests.
//!
//! Dependencies of tests are free, so `millpond-testkit` may be one anywhere.

use super::Violation;
use super::workspace::Workspace;
use crate::cargo::Package;

/// Which crates of this workspace a crate may be built with.
enum Ours {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

use Ours::{AllBut, Only};

const BACKEND: Ours = Only(&["millpond-core", "millpond-sqlx", "millpond-url"]);

const ROWS: [(&str, Ours); 21] = [
    ("millpond-settings", Only(&[])),
    ("millpond-runtime", Only(&[])),
    ("millpond-core", Only(&["millpond-runtime", "millpond-settings"])),
    ("millpond-url", Only(&[])),
    ("millpond-shared", Only(&["millpond-core", "millpond-runtime"])),
    ("millpond-compat", Only(&["millpond-core"])),
    ("millpond-testkit", Only(&["millpond-core", "millpond-shared"])),
    ("millpond-config", Only(&["millpond-settings", "millpond-url"])),
    ("millpond-sqlx", Only(&["millpond-core", "millpond-url"])),
    ("millpond-sqlite", BACKEND),
    ("millpond-postgres", BACKEND),
    ("millpond-mysql", BACKEND),
    (
        "millpond-redis",
        Only(&["millpond-core", "millpond-runtime", "millpond-shared", "millpond-url"]),
    ),
    ("millpond-cache", Only(&["millpond-core", "millpond-redis"])),
    ("millpond-ratelimit", Only(&["millpond-config", "millpond-core", "millpond-redis"])),
    ("millpond-metrics", Only(&["millpond-core", "millpond-shared"])),
    ("millpond", AllBut(&["millpond-cli", "millpond-testkit", "xtask", "benches", "soak"])),
    ("millpond-cli", Only(&["millpond"])),
    ("benches", AllBut(&["millpond-cli", "xtask", "soak"])),
    ("soak", AllBut(&["millpond-cli", "xtask", "benches"])),
    // The chores build nothing of ours: they must run when the rest does not compile.
    ("xtask", Only(&[])),
];

/// Every user of millpond builds the core and what it is built on, so each dependency of these is a
/// decision.
const CORE: [&str; 3] = ["millpond-core", "millpond-runtime", "millpond-settings"];
const OF_THE_CORE: [&str; 6] =
    ["async-trait", "coarsetime", "fastrand", "spin", "tokio", "tracing"];
/// Only a build of the models has it.
const OF_MODELS: &str = "loom";

/// Every dependency of a crate of ours stands in the table.
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
            if let Some(cure) = refusal(name, allowed, dependency, ours.contains(&dependency)) {
                let message = format!("`{name}` must not depend on `{dependency}`; {cure}");
                let line = line_of(workspace, package, dependency);
                violations.push(Violation::new(manifest, line, message));
            }
        }
    }
    violations
}

/// What to do instead, if a dependency is refused.
fn refusal(name: &str, allowed: &Ours, dependency: &str, is_ours: bool) -> Option<&'static str> {
    let is_allowed = match allowed {
        Only(list) => list.contains(&dependency),
        AllBut(list) => !list.contains(&dependency),
    };
    match dependency {
        "millpond-testkit" if !is_allowed => Some("make it a dev-dependency"),
        _ if is_ours && !is_allowed => {
            Some("move the code to where the arrow may point, or argue a new one in docs/design.md")
        }
        "figment" if name != "millpond-config" => Some("only `millpond-config` reads settings"),
        OF_MODELS if name == "millpond-runtime" => None,
        _ if !is_ours && CORE.contains(&name) && !OF_THE_CORE.contains(&dependency) => {
            Some("the core may use only what the table lists")
        }
        _ => None,
    }
}

/// The line of the manifest that names the dependency first, or the first line.
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
    fn what_the_table_allows_passes() {
        let found = check(&[
            ("millpond-core", &["tokio", "tracing"]),
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
    fn what_it_does_not_is_caught_on_the_line_of_the_dependency() {
        type Packages<'a> = &'a [(&'a str, &'a [&'a str])];
        let wrong: [(Packages<'_>, &str); 7] = [
            (&[("millpond-core", &["serde"])], "may use only"),
            (&[("millpond-redis", &["figment"])], "only `millpond-config`"),
            (&[("millpond-cli", &["millpond-core"]), ("millpond-core", &[])], "must not depend"),
            (&[("millpond-sqlite", &["millpond-mysql"]), ("millpond-mysql", &[])], "move the code"),
            (&[("millpond-sqlx", &["millpond-testkit"]), ("millpond-testkit", &[])], "a dev-dep"),
            (&[("millpond-new", &[])], "not in the table"),
            (&[("millpond", &["millpond-cli"]), ("millpond-cli", &[])], "2: "),
        ];
        for (packages, said) in wrong {
            let found = check(packages);
            assert!(found.first().is_some_and(|found| found.contains(said)), "{found:?}");
        }
    }
}
