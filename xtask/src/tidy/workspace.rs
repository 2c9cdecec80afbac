//! What the rules look at: the repository's files, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;

use super::Violation;
use super::functions::{self, Function};
use super::metadata::{self, Package};
use super::modules::{self, Reach};
use super::tokens::{self, Kind, Token};
use crate::cargo;

/// Where our Rust code lies; the packages of the workspace, in other words.
const CODE: [&str; 4] = ["crates/", "xtask/", "benches/", "soak/"];

/// The repository as the rules see it. All paths start at its root and use `/`.
#[derive(Default)]
pub struct Workspace {
    /// Its packages.
    pub packages: Vec<Package>,
    /// Its Rust files.
    pub sources: Vec<Source>,
    /// The text of manifests and Markdown pages by path.
    pub texts: BTreeMap<String, String>,
    /// Every file there is.
    pub paths: BTreeSet<String>,
    /// Rust files the compiler would refuse; they are in no other list.
    pub unreadable: Vec<Violation>,
}

/// A Rust file.
pub struct Source {
    /// Where it lies.
    pub path: String,
    /// What it says.
    pub text: String,
    /// The same as tokens.
    pub tokens: Vec<Token>,
    /// The same as items.
    pub syntax: syn::File,
    /// The functions in it, those inside macros included.
    pub functions: Vec<Function>,
    /// How it is reached from a crate root.
    pub reach: Reach,
}

impl Workspace {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    ///
    /// When a file or the metadata cannot be read.
    pub fn read(root: &Path) -> Result<Self, String> {
        let packages = metadata::packages(&cargo::metadata(root)?)?;
        let mut paths = BTreeSet::new();
        walk(root, "", &mut paths)?;
        let mut texts = BTreeMap::new();
        for path in paths.iter().filter(|path| is_read(path)) {
            let text = fs::read_to_string(root.join(path)).map_err(|e| format!("could not read {path}: {e}"))?;
            texts.insert(path.clone(), text);
        }
        Ok(Self::assemble(packages, texts, paths))
    }

    fn assemble(packages: Vec<Package>, mut texts: BTreeMap<String, String>, paths: BTreeSet<String>) -> Self {
        let mut workspace = Self { packages, paths, ..Self::default() };
        for path in workspace.paths.iter().filter(|path| path.ends_with(".rs")) {
            let Some(text) = texts.remove(path) else { continue };
            match Source::parse(path, text) {
                Ok(source) => workspace.sources.push(source),
                Err(violation) => workspace.unreadable.push(violation),
            }
        }
        workspace.texts = texts;
        let syntax = workspace.sources.iter().map(|source| (source.path.as_str(), &source.syntax)).collect();
        let roots: Vec<_> = workspace.packages.iter().flat_map(|package| package.roots.iter().cloned()).collect();
        let reached = modules::follow(&syntax, &roots);
        for source in &mut workspace.sources {
            source.reach = reached.get(&source.path).copied().unwrap_or_default();
        }
        workspace
    }

    /// The Markdown pages.
    pub fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        let pages = self.texts.iter().filter(|(path, _)| path.ends_with(".md"));
        pages.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

impl Source {
    fn parse(path: &str, text: String) -> Result<Self, Violation> {
        let refused = |line, error: String| {
            let message = format!("not Rust as tidy knows it ({error}); see what `cargo check` says");
            Violation::new(path, line, message)
        };
        let stream: TokenStream =
            text.parse().map_err(|e: proc_macro2::LexError| refused(e.span().start().line, e.to_string()))?;
        let syntax = syn::parse2(stream.clone()).map_err(|e| refused(e.span().start().line, e.to_string()))?;
        let tokens = tokens::flatten(stream);
        let functions = functions::find(&tokens);
        Ok(Self { path: path.to_owned(), text, tokens, syntax, functions, reach: Reach::Dead })
    }

    /// Whether a token of this file is compiled only for tests.
    pub fn is_test(&self, token: &Token) -> bool {
        self.reach == Reach::Test || token.place.cfg_test
    }

    /// The comments, doc comments included: line numbers and what is left of those lines without the code.
    pub fn comments(&self) -> Vec<(usize, String)> {
        let mut bytes = self.text.clone().into_bytes();
        for token in self.tokens.iter().filter(|token| token.kind != Kind::Doc) {
            for byte in bytes.get_mut(token.bytes.clone()).into_iter().flatten().filter(|byte| **byte != b'\n') {
                *byte = b' ';
            }
        }
        let prose = String::from_utf8_lossy(&bytes).into_owned();
        let lines = prose.lines().enumerate().map(|(at, line)| (at + 1, line.trim().to_owned()));
        lines.filter(|(_, line)| !line.is_empty()).collect()
    }
}

/// Whether a rule looks into such a file.
fn is_read(path: &str) -> bool {
    let code = path.ends_with(".rs") && CODE.iter().any(|directory| path.starts_with(directory));
    code || path.ends_with(".md") || path.ends_with("Cargo.toml")
}

/// Collects the files below `directory`, but not git's and not those of a cache, such as cargo's target directory.
fn walk(root: &Path, directory: &str, paths: &mut BTreeSet<String>) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("could not list {directory}/: {e}");
    for entry in fs::read_dir(root.join(directory)).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        let kind = entry.file_type().map_err(broken)?;
        let is_cache = path == ".git" || path == "target" || entry.path().join("CACHEDIR.TAG").exists();
        if kind.is_dir() && !is_cache {
            walk(root, &path, paths)?;
        } else if kind.is_file() {
            paths.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
impl Workspace {
    /// A workspace of these files; what is called `lib.rs` or `main.rs` is a crate root, of a test below `tests/`.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let paths: BTreeSet<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let roots = paths.iter().filter(|path| path.ends_with("/lib.rs") || path.ends_with("/main.rs"));
        let reach = |path: &str| if path.contains("/tests/") { Reach::Test } else { Reach::Live };
        let roots = roots.map(|path| (path.clone(), reach(path))).collect();
        Self::assemble(vec![Package { roots, ..Package::default() }], texts, paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_what_is_left_without_the_code() {
        let text = "//! Job.\nlet x = \"// no\"; // yes\n/* é\n two */ let y = 1;\n";
        let workspace = Workspace::of(&[("crates/a/src/lib.rs", &format!("fn f() {{\n{}}}", &text[9..]))]);
        let comments = workspace.sources[0].comments();
        assert_eq!(comments, [(2, "// yes".to_owned()), (3, "/* é".to_owned()), (4, "two */".to_owned())]);
    }

    #[test]
    fn a_file_that_is_not_rust_is_reported_and_the_others_are_read() {
        let workspace = Workspace::of(&[("crates/a/src/lib.rs", "fn (\n"), ("crates/b/src/lib.rs", "")]);
        assert_eq!((workspace.unreadable.len(), workspace.sources.len()), (1, 1));
    }
}
