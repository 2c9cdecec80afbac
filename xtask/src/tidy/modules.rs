//! The modules of every crate: a `mod` declaration leads to every file, and no two files import
//! each other, directly or through others.
//!
//! Imports are `use` declarations and paths in code, followed through re-exports to the file of the
//! module. Imports between a module and its own submodules do not count, and neither do those of
//! tests and in macros.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, ItemUse, Lit, UseTree};

use super::Violation;
use super::workspace::{Workspace, normal};

/// The most re-exports that are followed for a path.
const HOPS_MAX: usize = 8;

/// A module's path, beginning with the file of its crate's root.
type Place = Vec<String>;
type Modules = BTreeMap<Place, Module>;

/// The imports of a module.
#[derive(Default)]
struct Module {
    file: String,
    /// The paths that its `use` declarations import, by name.
    names: BTreeMap<String, Vec<String>>,
    /// The paths in its code, with their lines.
    paths: Vec<(usize, Vec<String>)>,
}

/// Every Rust file is a crate root, or a `mod` declaration leads to it.
pub fn reach_every_file(workspace: &Workspace) -> Vec<Violation> {
    let modules = read(workspace);
    let reached: BTreeSet<&str> = modules.values().map(|module| module.file.as_str()).collect();
    let dead = workspace.sources.iter().filter(|source| !reached.contains(source.path.as_str()));
    let message = "no `mod` declaration leads to this file; add one, or delete the file";
    dead.map(|source| Violation::new(&source.path, 1, message)).collect()
}

/// No file imports a file that imports it, directly or through others.
pub fn import_in_one_direction(workspace: &Workspace) -> Vec<Violation> {
    let modules = read(workspace);
    let mut arrows: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (place, module) in modules.iter().filter(|(_, it)| !it.file.contains("/tests/")) {
        let used = module.names.values().map(|path| (1, path));
        for (line, path) in used.chain(module.paths.iter().map(|(line, path)| (*line, path))) {
            let Some(target) = resolve(&modules, place, path, 0) else { continue };
            if !place.starts_with(&target) && !target.starts_with(place) {
                let to = modules.get(&target).map_or("", |module| module.file.as_str());
                arrows.entry(&module.file).or_default().entry(to).or_insert(line);
            }
        }
    }
    let leads_to = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(file) = next.pop() {
            let more = arrows.get(file).into_iter().flat_map(|targets| targets.keys());
            next.extend(more.filter(|target| seen.insert(**target)));
        }
        seen.contains(to)
    };
    let all = arrows.iter().flat_map(|(from, to)| to.iter().map(|(to, line)| (*from, *to, *line)));
    all.filter(|(from, to, _)| from != to && leads_to(to, from))
        .map(|(from, to, line)| {
            let message = format!(
                "imports {to}, which imports this file; move the common part to a third one"
            );
            Violation::new(from, line, message)
        })
        .collect()
}

/// Returns the module that a path leads to from within a module; `None` if it is in another crate.
fn resolve(modules: &Modules, from: &Place, path: &[String], hops: usize) -> Option<Place> {
    let (first, mut rest) = path.split_first()?;
    let mut place = match first.as_str() {
        "crate" => from.first().map(|root| vec![root.clone()])?,
        "self" | "super" => {
            let mut place = from.clone();
            if first == "super" {
                place.pop()?;
            }
            place
        }
        _ => {
            rest = path;
            let known = modules.get(from)?.names.contains_key(first);
            let child = [from.as_slice(), std::slice::from_ref(first)].concat();
            (known || modules.contains_key(&child)).then(|| from.clone())?
        }
    };
    for (at, segment) in rest.iter().enumerate() {
        let child = [place.as_slice(), std::slice::from_ref(segment)].concat();
        if segment == "super" {
            place.pop()?;
        } else if modules.contains_key(&child) {
            place = child;
        } else {
            let exported = modules.get(&place)?.names.get(segment).filter(|_| hops < HOPS_MAX);
            let Some(exported) = exported else { break };
            let onwards = [exported.as_slice(), rest.get(at + 1..)?].concat();
            return resolve(modules, &place, &onwards, hops + 1);
        }
    }
    modules.contains_key(&place).then_some(place)
}

/// Reads the modules of all crates.
fn read(workspace: &Workspace) -> Modules {
    let texts = workspace.sources.iter().map(|it| (it.path.as_str(), it.text.as_str())).collect();
    let mut reader = Reader { texts, ..Reader::default() };
    for target in workspace.packages.iter().flat_map(|package| &package.targets) {
        reader.file(&target.src_path, vec![target.src_path.clone()], true);
    }
    reader.modules
}

#[derive(Default)]
struct Reader<'a> {
    texts: BTreeMap<&'a str, &'a str>,
    modules: Modules,
    /// The current module.
    place: Place,
    /// The current file, and the directory of its submodules.
    file: String,
    directory: String,
}

impl Reader<'_> {
    /// Reads the file of a module.
    fn file(&mut self, path: &str, place: Place, is_root: bool) {
        let Some(text) = self.texts.get(path) else { return };
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = match is_root || name == "mod.rs" {
            true => parent.to_owned(),
            false => path.trim_end_matches(".rs").to_owned(),
        };
        let module = Module { file: path.to_owned(), ..Module::default() };
        self.modules.insert(place.clone(), module);
        // Another rule reports files that cannot be parsed.
        let Ok(parsed) = syn::parse_file(text) else { return };
        let outer = (
            std::mem::replace(&mut self.place, place),
            std::mem::replace(&mut self.file, path.to_owned()),
            std::mem::replace(&mut self.directory, directory),
        );
        self.visit_file(&parsed);
        (self.place, self.file, self.directory) = outer;
    }

    fn module(&mut self) -> &mut Module {
        self.modules.entry(self.place.clone()).or_default()
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, before)),
            UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned().unwrap_or_default();
                self.module().names.insert(last, before.to_vec());
            }
            UseTree::Name(name) => {
                self.module().names.insert(name.ident.to_string(), with(&name.ident));
            }
            UseTree::Rename(to) => {
                self.module().names.insert(to.rename.to_string(), with(&to.ident));
            }
            UseTree::Glob(_) => self.module().paths.push((1, before.to_vec())),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        let place = [self.place.as_slice(), std::slice::from_ref(&name)].concat();
        if let Some((_, items)) = &item.content {
            let outer = (self.place.clone(), self.directory.clone());
            self.place = place;
            self.directory = format!("{}/{name}", self.directory);
            self.module().file = self.file.clone();
            let is_test = is_test(&item.attrs);
            for item in items.iter().filter(|item| !is_test || matches!(item, Item::Mod(_))) {
                self.visit_item(item);
            }
            (self.place, self.directory) = outer;
        } else if let Some(path) = explicit_path(&item.attrs) {
            let parent = self.file.rsplit_once('/').map_or("", |(parent, _)| parent);
            self.file(&normal(&format!("{parent}/{path}")), place, true);
        } else {
            for file in ["{}.rs", "{}/mod.rs"].map(|form| form.replace("{}", &name)) {
                self.file(&format!("{}/{file}", self.directory), place.clone(), false);
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|it| it.ident.to_string()).collect();
        if let Some(first) = path.segments.first().filter(|_| segments.len() > 1) {
            let line = first.ident.span().start().line;
            self.module().paths.push((line, segments));
        }
        visit::visit_path(self, path);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_test = |list: &syn::MetaList| list.tokens.to_string() == "test";
    attributes.iter().any(|it| it.meta.require_list().is_ok_and(is_test))
}

/// Returns the path in `#[path = ".."]`.
fn explicit_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let pair = attribute.meta.require_name_value().ok()?;
        match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if pair.path.is_ident("path") => {
                Some(text.value())
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(violations: Vec<Violation>) -> Vec<String> {
        violations.into_iter().map(|violation| violation.path).collect()
    }

    #[test]
    fn files_beside_below_and_by_path_are_reached_and_others_are_not() {
        let lib =
            "mod a;\nmod b {\n    mod c;\n}\n#[path = \"odd/x.rs\"]\nmod d;\npub(crate) mod e;\n";
        let files = [
            ("c/src/lib.rs", lib),
            ("c/src/a.rs", "mod e;\n"),
            ("c/src/a/e/mod.rs", ""),
            ("c/src/b/c.rs", ""),
            ("c/src/odd/x.rs", ""),
            ("c/src/e.rs", "// mod gone;\n"),
            ("c/src/gone.rs", ""),
        ];
        assert_eq!(paths(reach_every_file(&Workspace::of(&files))), ["c/src/gone.rs"]);
    }

    #[test]
    fn files_that_import_each_other_are_caught_also_through_a_re_export() {
        let circles = |a: &str, b: &str| {
            let lib = "mod a;\nmod b;\npub use b::B;\n";
            let files = [("c/src/lib.rs", lib), ("c/src/a.rs", a), ("c/src/b.rs", b)];
            paths(import_in_one_direction(&Workspace::of(&files)))
        };
        let both = ["c/src/a.rs", "c/src/b.rs"];
        assert_eq!(circles("use crate::b::B;\n", "fn f() { super::a::g() }\n"), both);
        assert_eq!(circles("use crate::B;\n", "use super::a::*;\n"), both);
        assert_eq!(circles("use crate::b;\nfn f() -> b::B {}\n", "use crate::a::{A, C};\n"), both);
    }

    #[test]
    fn one_direction_a_module_with_its_own_and_unit_tests_pass() {
        let files = [
            ("c/src/lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
            ("c/src/a.rs", "mod d;\npub use d::D;\nuse crate::b::B;\n"),
            ("c/src/a/d.rs", "use super::A;\nuse std::a::X;\n"),
            ("c/src/b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
        ];
        assert_eq!(import_in_one_direction(&Workspace::of(&files)), []);
    }
}
