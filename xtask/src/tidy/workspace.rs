//! The files and packages of the repository, read once for all rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use walkdir::{DirEntry, WalkDir};

use crate::cargo::{self, Package};

/// The directories of the packages.
const CODE: [&str; 4] = ["crates/", "xtask/", "benches/", "soak/"];

/// The repository. All paths are relative to its root and use `/`.
#[derive(Default)]
pub struct Workspace {
    /// The packages.
    pub packages: Vec<Package>,
    /// The Rust files.
    pub sources: Vec<Source>,
    /// The texts of manifests and Markdown pages by path.
    pub texts: BTreeMap<String, String>,
    /// All files.
    pub paths: BTreeSet<String>,
}

/// A Rust file.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// A function with a body, by line indices of its file.
pub struct Function<'a> {
    pub name: &'a str,
    /// The line of `fn`, from 1 on.
    pub line: usize,
    /// Its attributes and doc comments.
    pub head: String,
    /// The lines from `fn` to the closing brace.
    pub body: String,
}

impl Workspace {
    /// Reads the repository at `root`.
    pub fn read(root: &Path) -> Result<Self, String> {
        let paths = files(root)?;
        let mut texts = BTreeMap::new();
        for path in paths.iter().filter(|path| is_read(path)) {
            let text = fs::read_to_string(root.join(path))
                .map_err(|e| format!("could not read {path}: {e}"))?;
            texts.insert(path.clone(), text);
        }
        let mut packages = cargo::metadata(root)?.packages;
        let relative = |path: &mut String| {
            *path = path.trim_start_matches(&format!("{}/", root.display())).to_owned()
        };
        for package in &mut packages {
            relative(&mut package.manifest_path);
            package.targets.iter_mut().for_each(|target| relative(&mut target.src_path));
        }
        Ok(Self::assemble(packages, texts, paths))
    }

    fn assemble(
        packages: Vec<Package>,
        mut texts: BTreeMap<String, String>,
        paths: BTreeSet<String>,
    ) -> Self {
        let rust: Vec<String> =
            texts.keys().filter(|path| path.ends_with(".rs")).cloned().collect();
        let source = |path: String| texts.remove(&path).map(|text| Source { path, text });
        let sources = rust.into_iter().filter_map(source).collect();
        Self { packages, sources, texts, paths }
    }

    /// Returns path and text of each Markdown page.
    pub fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        let pages = self.texts.iter().filter(|(path, _)| path.ends_with(".md"));
        pages.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

impl Source {
    /// Returns every function with a body, also those in macros. The file must be formatted by
    /// rustfmt: a body ends at the closing brace with the indentation of its first line.
    pub fn functions(&self) -> Vec<Function<'_>> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut found = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            let closing = format!("{indent}}}");
            let rest = lines.iter().skip(at);
            let length = match line.ends_with('}') {
                true => 1,
                false => rest.clone().position(|line| *line == closing).map_or(1, |last| last + 1),
            };
            let head = lines[..at].iter().rev().take_while(|line| {
                let text = line.trim_start();
                text.starts_with("#[") || text.starts_with("//")
            });
            let body: Vec<&str> = rest.take(length).copied().collect();
            let head: Vec<&str> = head.copied().collect();
            let (head, body) = (head.join("\n"), body.join("\n"));
            found.push(Function { name, line: at + 1, head, body });
        }
        found
    }
}

/// Returns the name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    static FUNCTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"^\s*(?:(?:pub(?:\([^)]*\))?|async|const|unsafe|extern|"C") )*fn (\w+)"#).ok()
    });
    Some(FUNCTION.as_ref()?.captures(line)?.get(1)?.as_str())
}

/// Returns true if rules read this file.
fn is_read(path: &str) -> bool {
    let code = path.ends_with(".rs") && CODE.iter().any(|directory| path.starts_with(directory));
    code || path.ends_with(".md") || path.ends_with("Cargo.toml")
}

/// Returns the files of the repository, without those of git and of caches, such as cargo's target
/// directory.
fn files(root: &Path) -> Result<BTreeSet<String>, String> {
    let is_skipped = |entry: &DirEntry| {
        let name = entry.file_name();
        let is_ours = entry.depth() > 1 || (name != ".git" && name != "target");
        entry.depth() > 0 && (!is_ours || entry.path().join("CACHEDIR.TAG").exists())
    };
    let mut paths = BTreeSet::new();
    for entry in WalkDir::new(root).into_iter().filter_entry(|entry| !is_skipped(entry)) {
        let entry = entry.map_err(|e| format!("could not list the repository: {e}"))?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            paths.insert(path.to_string_lossy().into_owned());
        }
    }
    Ok(paths)
}

/// Returns the path without `.` and `..`; empty for the root.
pub fn normal(path: &str) -> String {
    let path = path_clean::clean(path.trim_start_matches('/')).to_string_lossy().into_owned();
    if path == "." { String::new() } else { path }
}

#[cfg(test)]
impl Workspace {
    /// Returns a workspace of these files, with `lib.rs` and `main.rs` as crate roots.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let paths: BTreeSet<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let is_root = |path: &&String| path.ends_with("/lib.rs") || path.ends_with("/main.rs");
        let roots = paths.iter().filter(is_root);
        let targets = roots.map(|path| cargo::Target { src_path: path.clone() }).collect();
        let package = Package { targets, ..Package::default() };
        Self::assemble(vec![package], texts.collect(), paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_attributes_and_bodies() {
        let text = "struct A(fn(u8));\n#[test]\n/// Doc.\n\
            pub(crate) async fn one() {\n    two();\n    fn two() {}\n}\n\
                    trait B {\n    fn three(&self);\n}\n";
        let source = Source { path: String::new(), text: text.to_owned() };
        let found = source.functions();
        let names: Vec<_> = found.iter().map(|function| (function.name, function.line)).collect();
        assert_eq!(names, [("one", 4), ("two", 6), ("three", 9)]);
        assert!(found[0].head.contains("#[test]") && found[0].body.ends_with("{}\n}"));
        assert!(found[1].head.is_empty());
    }

    #[test]
    fn a_path_is_normalised_as_by_the_file_system() {
        for (path, normalised) in
            [("a/b/../../README.md", "README.md"), ("./a//b", "a/b"), ("../a", "../a"), ("/a", "a")]
        {
            assert_eq!(normal(path), normalised);
        }
    }
}
