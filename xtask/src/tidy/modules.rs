//! Which file is part of what: follows `mod` declarations from the crate roots.
//!
//! Only declarations in the file itself count, not those a macro would write; there are none here, and a file that only
//! a macro declares is reported as dead, never the other way round.

use std::collections::BTreeMap;

use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta};

use super::tokens::is_cfg_test;

/// How a file is reached.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Not at all.
    #[default]
    Dead,
    /// Only when testing.
    Test,
    /// In what users get.
    Live,
}

/// How each file is reached from the `roots`: crate roots, and whether each is a test binary.
pub fn follow(syntax: &BTreeMap<&str, &syn::File>, roots: &[(String, Reach)]) -> BTreeMap<String, Reach> {
    let mut reached: BTreeMap<String, Reach> = BTreeMap::new();
    let mut open: Vec<(String, Reach, bool)> = roots.iter().map(|(path, reach)| (path.clone(), *reach, true)).collect();
    while let Some((path, reach, is_root)) = open.pop() {
        let Some(file) = syntax.get(path.as_str()) else { continue };
        if reached.get(&path).is_some_and(|known| *known >= reach) {
            continue;
        }
        reached.insert(path.clone(), reach);
        let mut declared = Vec::new();
        declarations(&file.items, &Directory::of(&path, is_root), reach, &mut declared);
        for (candidates, reach) in declared {
            let found = candidates.into_iter().filter(|candidate| syntax.contains_key(candidate.as_str()));
            open.extend(found.map(|candidate| (candidate, reach, false)));
        }
    }
    reached
}

/// Where a module's declarations are looked up.
struct Directory {
    /// For `mod a;`.
    children: String,
    /// For `#[path = "a.rs"] mod a;`.
    explicit: String,
}

impl Directory {
    fn of(path: &str, is_root: bool) -> Self {
        let (parent, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = file.trim_end_matches(".rs");
        let children = if is_root || stem == "mod" { parent.to_owned() } else { format!("{parent}/{stem}") };
        Self { children, explicit: parent.to_owned() }
    }

    /// Of a module written in place.
    fn inside(&self, module: &str) -> Self {
        let children = format!("{}/{module}", self.children);
        Self { explicit: children.clone(), children }
    }
}

/// Collects what the items declare: the paths each module may lie at, and how it is reached.
fn declarations(items: &[Item], directory: &Directory, reach: Reach, found: &mut Vec<(Vec<String>, Reach)>) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        let reach = if module.attrs.iter().any(tests_only) { Reach::Test } else { reach };
        let name = module.ident.to_string();
        let name = name.trim_start_matches("r#");
        match &module.content {
            Some((_, inner)) => declarations(inner, &directory.inside(name), reach, found),
            None => found.push((candidates(module, name, directory), reach)),
        }
    }
}

fn candidates(module: &ItemMod, name: &str, directory: &Directory) -> Vec<String> {
    if let Some(path) = module.attrs.iter().find_map(explicit_path) {
        return vec![normal(&format!("{}/{path}", directory.explicit))];
    }
    let children = &directory.children;
    vec![format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")]
}

fn explicit_path(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(value) = &pair.value else { return None };
    let Lit::Str(path) = &value.lit else { return None };
    pair.path.is_ident("path").then(|| path.value())
}

fn tests_only(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let whole = proc_macro2::Group::new(proc_macro2::Delimiter::Parenthesis, list.tokens.clone());
    let Some(name) = list.path.get_ident() else { return false };
    is_cfg_test([proc_macro2::TokenTree::Ident(name.clone()), whole.into()].into_iter().collect())
}

/// The path without `.` and `..`.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(files: &[(&str, &str)], root: &str) -> Vec<(String, Reach)> {
        let parsed: Vec<(&str, syn::File)> =
            files.iter().map(|(path, text)| (*path, syn::parse_str(text).unwrap())).collect();
        let syntax = parsed.iter().map(|(path, file)| (*path, file)).collect();
        follow(&syntax, &[(root.to_owned(), Reach::Live)]).into_iter().collect()
    }

    #[test]
    fn modules_are_found_beside_below_and_by_path() {
        let files = [
            ("c/src/lib.rs", "mod a; mod b { mod c; } #[path = \"odd/x.rs\"] mod d; mod gone;"),
            ("c/src/a.rs", "mod e;"),
            ("c/src/a/e/mod.rs", ""),
            ("c/src/b/c.rs", ""),
            ("c/src/odd/x.rs", ""),
            ("c/src/e.rs", ""),
        ];
        let paths: Vec<String> = reached(&files, "c/src/lib.rs").into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["c/src/a.rs", "c/src/a/e/mod.rs", "c/src/b/c.rs", "c/src/lib.rs", "c/src/odd/x.rs"]);
    }

    #[test]
    fn a_module_under_cfg_test_and_what_it_declares_are_tests() {
        let files = [("c/src/lib.rs", "#[cfg(test)] mod a;"), ("c/src/a.rs", "mod b;"), ("c/src/a/b.rs", "")];
        let tests = reached(&files, "c/src/lib.rs").into_iter().filter(|(_, reach)| *reach == Reach::Test).count();
        assert_eq!(tests, 2);
    }

    #[test]
    fn a_path_is_read_as_the_file_system_would() {
        assert_eq!(normal("a/b/../../README.md"), "README.md");
        assert_eq!(normal("./a//b"), "a/b");
        assert_eq!(normal("../a"), "../a");
    }
}
