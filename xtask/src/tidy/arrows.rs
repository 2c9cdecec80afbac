//! Which crate of ours may be built with which: the table, compared with the manifests.
//!
//! Dependencies of tests are free, so `millpond-testkit` may be one anywhere.

use super::Violation;
use super::workspace::Workspace;
use crate::cargo::Package;

/// What a crate may be built with.
struct Row {
    name: &'static str,
    ours: Ours,
    external: External,
}

/// Crates of this workspace.
enum Ours {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// Crates of others.
enum External {
    Any,
    Only(&'static [&'static str]),
}

const ROWS: [Row; 16] = [
    // Every user of millpond builds the core, so each of its dependencies is a decision.
    row(
        "millpond-core",
        Ours::Only(&[]),
        External::Only(&[
            "async-trait",
            "coarsetime",
            "fastrand",
            "parking_lot",
            "spin",
            "tokio",
            "tracing",
        ]),
    ),
    row("millpond-testkit", Ours::Only(&["millpond-core"]), External::Any),
    row("millpond-config", Ours::Only(&["millpond-core"]), External::Any),
    row("millpond-sqlx", Ours::Only(&["millpond-core"]), External::Any),
    row("millpond-sqlite", Ours::Only(&["millpond-core", "millpond-sqlx"]), External::Any),
    row("millpond-postgres", Ours::Only(&["millpond-core", "millpond-sqlx"]), External::Any),
    row("millpond-mysql", Ours::Only(&["millpond-core", "millpond-sqlx"]), External::Any),
    row("millpond-redis", Ours::Only(&["millpond-core"]), External::Any),
    row("millpond-cache", Ours::Only(&["millpond-core", "millpond-redis"]), External::Any),
    row(
        "millpond-ratelimit",
        Ours::Only(&["millpond-config", "millpond-core", "millpond-redis"]),
        External::Any,
    ),
    row("millpond-metrics", Ours::Only(&["millpond-core"]), External::Any),
    row(
        "millpond",
        Ours::AllBut(&["millpond-cli", "millpond-testkit", "xtask", "benches"]),
        External::Any,
    ),
    row("millpond-cli", Ours::Only(&["millpond"]), External::Any),
    row("benches", Ours::AllBut(&["millpond-cli", "xtask"]), External::Any),
    row("soak", Ours::AllBut(&["millpond-cli", "xtask", "benches"]), External::Any),
    // The chores build nothing of ours: they must run when the rest does not compile.
    row("xtask", Ours::Only(&[]), External::Any),
];

/// Crates of others that only one of ours may be built with.
const EXCLUSIVE: [(&str, &str); 1] = [("figment", "millpond-config")];

const fn row(name: &'static str, ours: Ours, external: External) -> Row {
    Row { name, ours, external }
}

/// Every dependency of a crate of ours stands in the table.
pub fn only_allowed_dependencies(workspace: &Workspace) -> Vec<Violation> {
    let ours: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in workspace.packages.iter().filter(|package| !package.name.is_empty()) {
        let Some(row) = ROWS.iter().find(|row| row.name == package.name) else {
            let message = format!(
                "`{}` is not in the table; add its row to xtask/src/tidy/arrows.rs",
                package.name
            );
            violations.push(Violation::new(&package.manifest_path, 1, message));
            continue;
        };
        let built = package.dependencies.iter().filter(|it| it.kind.as_deref() != Some("dev"));
        for dependency in built.map(|dependency| dependency.name.as_str()) {
            if let Some(message) = refusal(row, dependency, ours.contains(&dependency)) {
                let line = line_of(workspace, package, dependency);
                violations.push(Violation::new(&package.manifest_path, line, message));
            }
        }
    }
    violations
}

fn refusal(row: &Row, dependency: &str, is_ours: bool) -> Option<String> {
    let name = row.name;
    if is_ours {
        let allowed = match &row.ours {
            Ours::Only(list) => list.contains(&dependency),
            Ours::AllBut(list) => !list.contains(&dependency),
        };
        let cure = match dependency {
            "millpond-testkit" => "make it a dev-dependency",
            _ => "move the code to where the arrow may point, or argue a new one in docs/design.md",
        };
        return (!allowed).then(|| format!("`{name}` must not depend on `{dependency}`; {cure}"));
    }
    if let Some((_, owner)) =
        EXCLUSIVE.iter().find(|(external, owner)| *external == dependency && *owner != name)
    {
        return Some(format!(
            "only `{owner}` may depend on `{dependency}`; let it read the settings and \
             take its types"
        ));
    }
    match &row.external {
        External::Any => None,
        External::Only(list) if list.contains(&dependency) => None,
        External::Only(list) => {
            Some(format!("`{name}` may use only {}; do without `{dependency}`", list.join(", ")))
        }
    }
}

/// The line of the manifest that names the dependency first, or the first line.
fn line_of(workspace: &Workspace, package: &Package, dependency: &str) -> usize {
    let manifest =
        workspace.texts.get(&package.manifest_path).map(String::as_str).unwrap_or_default();
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
        let mut workspace = Workspace::of(&[(
            "crates/millpond/Cargo.toml",
            "[dependencies]\nmillpond-cli = \"1\"\n",
        )]);
        workspace.packages = packages.iter().map(package).collect();
        let found = only_allowed_dependencies(&workspace);
        found
            .into_iter()
            .map(|violation| format!("{}: {}", violation.line, violation.message))
            .collect()
    }

    #[test]
    fn what_the_table_allows_passes() {
        let found = check(&[
            ("millpond-core", &["tokio", "tracing"]),
            ("millpond-sqlx", &["millpond-core", "sqlx"]),
            ("millpond-sqlite", &["millpond-core", "millpond-sqlx", "sqlx"]),
            ("millpond-config", &["millpond-core", "figment", "serde"]),
            ("millpond", &["millpond-core", "millpond-sqlite", "millpond-config"]),
            ("benches", &["millpond", "millpond-testkit"]),
            ("millpond-testkit", &["millpond-core"]),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn what_it_does_not_is_caught() {
        assert!(check(&[("millpond-core", &["serde"])])[0].contains("may use only"));
        assert!(check(&[("millpond-redis", &["figment"])])[0].contains("only `millpond-config`"));
        assert!(
            check(&[("millpond-cli", &["millpond-core"]), ("millpond-core", &[])])[0]
                .contains("must not depend")
        );
        assert!(
            check(&[("millpond-sqlite", &["millpond-mysql"]), ("millpond-mysql", &[])])[0]
                .contains("must not")
        );
        assert!(
            check(&[("millpond-sqlx", &["millpond-testkit"]), ("millpond-testkit", &[])])[0]
                .contains("dev-dep")
        );
    }

    #[test]
    fn a_crate_without_a_row_is_caught() {
        assert!(check(&[("millpond-new", &[])])[0].contains("not in the table"));
    }

    #[test]
    fn the_line_is_that_of_the_dependency() {
        assert!(
            check(&[("millpond", &["millpond-cli"]), ("millpond-cli", &[])])[0].starts_with("2: ")
        );
    }
}
