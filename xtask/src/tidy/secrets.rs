//! No derived `Debug` shows a secret.
//!
//! The rule reads the structs and enums of a file, without those that macros generate. It
//! recognises a secret by the name of the field (or of the variant or type, if the field has none)
//! and by its type, which must be text.

use syn::visit::{self, Visit};
use syn::{Attribute, Field, Fields, Ident, ItemEnum, ItemStruct, Meta, Type};

use super::Violation;
use super::workspace::Workspace;

/// In lower case without underscores, for `connection_string` and `ConnectionString`.
const SECRETS: &str = "password passwd passphrase secret token credential connectionstring url";

/// Types whose `Debug` shows their content. `u8` stands for `Vec<u8>` and `[u8; N]`.
const READABLE: [&str; 7] = ["String", "str", "OsString", "OsStr", "CString", "Url", "u8"];

/// No type that holds a secret as text derives `Debug`.
pub fn are_not_derived_into_debug(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let mut search = Search { path: &source.path, violations: &mut violations };
        match syn::parse_file(&source.text) {
            Ok(file) => search.visit_file(&file),
            Err(e) => {
                let message = format!("cannot be parsed ({e}); see the errors of `cargo check`");
                violations.push(Violation::new(&source.path, e.span().start().line, message));
            }
        }
    }
    violations
}

struct Search<'a> {
    path: &'a str,
    violations: &'a mut Vec<Violation>,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if derives_debug(&item.attrs) {
            self.look_at(&item.ident, &item.fields);
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        if derives_debug(&item.attrs) {
            for variant in &item.variants {
                self.look_at(&variant.ident, &variant.fields);
            }
        }
        visit::visit_item_enum(self, item);
    }
}

impl Search<'_> {
    fn look_at(&mut self, owner: &Ident, fields: &Fields) {
        for field in fields {
            let name = field.ident.as_ref().unwrap_or(owner);
            if is_secret(name) && is_readable(field) {
                let message = format!(
                    "the derived Debug shows `{name}`; wrap it in `Secret`, or write Debug by \
                     hand without it"
                );
                self.violations.push(Violation::new(self.path, name.span().start().line, message));
            }
        }
    }
}

fn derives_debug(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let text = list.tokens.to_string();
        let has = |word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
        has("Debug")
            && (list.path.is_ident("derive") || (list.path.is_ident("cfg_attr") && has("derive")))
    })
}

fn is_secret(name: &Ident) -> bool {
    let name = name.to_string().replace('_', "").to_lowercase();
    SECRETS.split(' ').any(|secret| name.contains(secret))
}

fn is_readable(field: &Field) -> bool {
    let mut names = Names::default();
    names.visit_type(&field.ty);
    let wrapped = names.0.iter().any(|name| name.starts_with("Secret"));
    // A single number is not text: it may be the token of a timer.
    let number = matches!(&field.ty, Type::Path(path) if path.path.is_ident("u8"));
    !wrapped && !number && names.0.iter().any(|name| READABLE.contains(&name.as_str()))
}

/// The names in a type.
#[derive(Default)]
struct Names(Vec<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, name: &'ast Ident) {
        self.0.push(name.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        are_not_derived_into_debug(&Workspace::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn a_secret_in_a_derived_debug_is_caught_unless_it_is_wrapped() {
        for (text, found) in [
            (
                "#[derive(Debug)] struct A { password: Secret<String>, url: Option<SecretString> }",
                0,
            ),
            ("#[derive(Clone)] struct A { password: String }", 0),
            ("#[derive(Debug)] struct A { token: u8, cancel_token: Token, name: String }", 0),
            ("#[derive(Clone, Debug)] struct A { db_password: String }", 1),
            ("#[derive(Debug)] struct A<'a> { url: &'a str, connection_string: Option<Url> }", 2),
            ("#[cfg_attr(feature = \"x\", derive(Debug))] struct A { token: Vec<u8> }", 1),
            ("#[derive(Debug)] enum A { B { secret: Box<str> }, Password(String) }", 2),
            ("fn f() { #[derive(Debug)] struct Credential(String); }", 1),
            // A file that is not Rust.
            ("fn (\n", 1),
        ] {
            assert_eq!(check(text), found, "{text}");
        }
    }
}
