//! The packages of the workspace, read from `cargo metadata`.

use serde_json::Value;

use super::modules::Reach;

/// A package of ours.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The path of its manifest, from the root.
    pub manifest: String,
    /// What it is built with; those of its tests are not among them.
    pub dependencies: Vec<String>,
    /// The files it is compiled from: libraries, programs, tests, examples, benches, the build script.
    pub roots: Vec<(String, Reach)>,
}

/// Reads the members of the workspace.
///
/// # Errors
///
/// When the JSON lacks what cargo promises.
pub fn packages(metadata: &Value) -> Result<Vec<Package>, String> {
    let root = format!("{}/", text(metadata, "workspace_root")?);
    list(metadata, "packages")?.iter().map(|package| read_package(package, &root)).collect()
}

fn read_package(package: &Value, root: &str) -> Result<Package, String> {
    let mut dependencies = Vec::new();
    for dependency in list(package, "dependencies")? {
        // `null` is a normal dependency, the others are "build" and "dev".
        if dependency.get("kind").and_then(Value::as_str) != Some("dev") {
            dependencies.push(text(dependency, "name")?.to_owned());
        }
    }
    let mut roots = Vec::new();
    for target in list(package, "targets")? {
        let is_test = list(target, "kind")?.iter().any(|kind| kind == "test");
        let reach = if is_test { Reach::Test } else { Reach::Live };
        roots.push((relative(text(target, "src_path")?, root), reach));
    }
    let manifest = relative(text(package, "manifest_path")?, root);
    Ok(Package { name: text(package, "name")?.to_owned(), manifest, dependencies, roots })
}

fn relative(path: &str, root: &str) -> String {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| missing(key))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> String {
    format!("`cargo metadata` has no `{key}` where it should; has its format changed? See tidy/metadata.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_without_its_dev_dependencies() {
        let json = r#"{"workspace_root": "/w", "packages": [{"name": "a", "manifest_path": "/w/a/Cargo.toml",
            "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "build"}, {"name": "d", "kind": "dev"}],
            "targets": [{"kind": ["lib"], "src_path": "/w/a/src/lib.rs"}, {"kind": ["test"], "src_path": "/w/a/t.rs"}]}]}"#;
        let found = packages(&serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(found[0].manifest, "a/Cargo.toml");
        assert_eq!(found[0].dependencies, ["b", "c"]);
        assert_eq!(found[0].roots[0], ("a/src/lib.rs".to_owned(), Reach::Live));
        assert_eq!(found[0].roots[1].1, Reach::Test);
    }

    #[test]
    fn json_of_another_shape_is_an_error_that_names_the_key() {
        assert!(packages(&Value::Null).unwrap_err().contains("workspace_root"));
    }
}
