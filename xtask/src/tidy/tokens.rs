//! A Rust file as a flat list of tokens that know where they stand: what the rules read instead of text.
//!
//! A group is an [`Kind::Open`] and a [`Kind::Close`] that know each other's index. A doc comment is one token
//! ([`Kind::Doc`]); any other comment is no token at all, so a name in prose or in a string is never taken for code.

use std::ops::Range;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A name or a keyword.
    Ident(String),
    /// One character; `::` is two of them.
    Punct(char),
    /// A number, character or string as it is written.
    Literal(String),
    /// A doc comment of either form.
    Doc,
    /// `(`, `[` or `{`.
    Open(Delimiter),
    /// `)`, `]` or `}`.
    Close(Delimiter),
}

/// What a token is part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Within `#[..]`.
    pub attribute: bool,
    /// Within the condition of `#[cfg(..)]`, `#[cfg_attr(..)]` or `cfg!(..)`.
    pub condition: bool,
    /// Within an item under `#[cfg(test)]`.
    pub cfg_test: bool,
}

/// A token and where it stands.
#[derive(Debug, Clone)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// What it is part of.
    pub place: Place,
    /// Its lines, the last one included.
    pub lines: (usize, usize),
    /// Its bytes in the file.
    pub bytes: Range<usize>,
    /// For a delimiter, the index of the other one; for all others, its own.
    pub mate: usize,
}

impl Token {
    /// Whether it is this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Ident(ident) if ident == name)
    }

    /// The name, if it is one.
    pub fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(ident) => Some(ident),
            _ => None,
        }
    }

    /// Whether it is this character.
    pub fn is_punct(&self, char: char) -> bool {
        self.kind == Kind::Punct(char)
    }

    /// Whether it opens such a group.
    pub fn opens(&self, delimiter: Delimiter) -> bool {
        self.kind == Kind::Open(delimiter)
    }
}

/// The tokens of a file in reading order.
pub fn flatten(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    push_stream(stream, Place::default(), &mut tokens);
    tokens
}

fn push_stream(stream: TokenStream, mut place: Place, tokens: &mut Vec<Token>) {
    let outside = place;
    // Set by `#[cfg(test)]`, until the item it stands before has ended.
    let mut item = Item::default();
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Punct(pound) if pound.as_char() == '#' && pound.span().byte_range().len() > 1 => {
                push(Kind::Doc, pound.span(), outside, tokens);
                // What follows is the comment once more, as the attribute the compiler makes of it.
                while !matches!(trees.next(), Some(TokenTree::Group(_)) | None) {}
            }
            TokenTree::Punct(punct) => {
                item.pass_punct(punct.as_char());
                push(Kind::Punct(punct.as_char()), punct.span(), place, tokens);
            }
            TokenTree::Ident(ident) => {
                let name = ident.to_string();
                item.pass_ident(&name);
                push(Kind::Ident(name.trim_start_matches("r#").to_owned()), ident.span(), place, tokens);
            }
            TokenTree::Literal(literal) => push(Kind::Literal(literal.to_string()), literal.span(), place, tokens),
            TokenTree::Group(group) => {
                let inner = inner_place(&group, place, tokens);
                let tests_only = inner.attribute && !place.attribute && is_cfg_test(group.stream());
                let whole_file = tokens.last().is_some_and(|token| token.is_punct('!'));
                let ends_item = group.delimiter() == Delimiter::Brace
                    && !matches!(trees.peek(), Some(TokenTree::Punct(p)) if matches!(p.as_char(), '>' | ','));
                push_group(group, place, inner, tokens);
                if tests_only {
                    item = if whole_file { Item::Endless } else { Item::Before };
                } else if ends_item {
                    item.end();
                }
            }
        }
        place.cfg_test = outside.cfg_test || item != Item::None;
    }
}

/// How far we are through an item under `#[cfg(test)]`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// There is none.
    #[default]
    None,
    /// Before its keyword: a field, variant or arm ends at a comma, so until then a comma is the end.
    Before,
    /// After its keyword: commas belong to it.
    Within,
    /// `#![cfg(test)]`: all that follows.
    Endless,
}

impl Item {
    fn pass_ident(&mut self, name: &str) {
        let keyword = matches!(name, "mod" | "fn" | "impl" | "struct" | "enum" | "trait" | "use" | "type" | "const");
        if *self == Self::Before && keyword {
            *self = Self::Within;
        }
    }

    fn pass_punct(&mut self, char: char) {
        if char == ';' || (char == ',' && *self == Self::Before) {
            self.end();
        }
    }

    fn end(&mut self) {
        if *self != Self::Endless {
            *self = Self::None;
        }
    }
}

/// What the tokens of a group are part of, judged by what stands before it.
fn inner_place(group: &Group, place: Place, before: &[Token]) -> Place {
    let mut last = before.iter().rev();
    let mut previous = last.next();
    let bang = previous.is_some_and(|token| token.is_punct('!'));
    if bang {
        previous = last.next();
    }
    let Some(previous) = previous else { return place };
    let attribute = group.delimiter() == Delimiter::Bracket && previous.is_punct('#');
    let in_attribute = (attribute || place.attribute) && (previous.is("cfg") || previous.is("cfg_attr"));
    let condition = in_attribute || (bang && previous.is("cfg"));
    Place { attribute: place.attribute || attribute, condition: place.condition || condition, ..place }
}

fn push_group(group: Group, place: Place, inner: Place, tokens: &mut Vec<Token>) {
    let delimiter = group.delimiter();
    let open = tokens.len();
    push(Kind::Open(delimiter), group.span_open(), place, tokens);
    push_stream(group.stream(), inner, tokens);
    let close = tokens.len();
    push(Kind::Close(delimiter), group.span_close(), place, tokens);
    for (index, mate) in [(open, close), (close, open)] {
        if let Some(token) = tokens.get_mut(index) {
            token.mate = mate;
        }
    }
}

fn push(kind: Kind, span: Span, place: Place, tokens: &mut Vec<Token>) {
    let lines = (span.start().line, span.end().line);
    tokens.push(Token { kind, place, lines, bytes: span.byte_range(), mate: tokens.len() });
}

/// Whether an attribute is `cfg(test)` or `cfg(all(.., test, ..))`: without the tests there is no such code.
pub fn is_cfg_test(attribute: TokenStream) -> bool {
    let mut trees = attribute.into_iter();
    let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(condition))) = (trees.next(), trees.next()) else {
        return false;
    };
    name == "cfg" && needs_test(condition.stream())
}

fn needs_test(condition: TokenStream) -> bool {
    let trees: Vec<TokenTree> = condition.into_iter().collect();
    trees.iter().enumerate().any(|(at, tree)| match (tree, trees.get(at + 1)) {
        (TokenTree::Ident(name), Some(TokenTree::Group(inner))) => name == "all" && needs_test(inner.stream()),
        (TokenTree::Ident(name), _) => name == "test",
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        flatten(text.parse().unwrap())
    }

    fn place(text: &str, name: &str) -> Place {
        tokens(text).iter().find(|token| token.is(name)).unwrap().place
    }

    #[test]
    fn prose_and_strings_are_not_names() {
        let found = tokens("//! tokio\n/// tokio\nconst A: &str = \"tokio\"; // tokio\n");
        assert!(!found.iter().any(|token| token.is("tokio")));
        assert_eq!(found.iter().filter(|token| token.kind == Kind::Doc).count(), 2);
    }

    #[test]
    fn delimiters_know_each_other() {
        let found = tokens("fn a() { b(c) }");
        for (index, token) in found.iter().enumerate() {
            assert_eq!(found[token.mate].mate, index);
        }
    }

    #[test]
    fn the_place_tells_conditions_from_code() {
        assert!(place("#[cfg(loom)] mod a;", "loom").condition);
        assert!(place("fn a() { if cfg!(loom) {} }", "loom").condition);
        assert!(!place("#[tokio::test] fn a() {}", "tokio").condition);
        assert!(place("#[tokio::test] fn a() {}", "tokio").attribute);
    }

    #[test]
    fn an_item_under_cfg_test_ends_where_it_ends() {
        let text = "#[cfg(all(test, loom))] mod a { fn b() { c } } fn d() {}";
        assert!(place(text, "c").cfg_test);
        assert!(!place(text, "d").cfg_test);
        assert!(!place("#[cfg(test)] use a::b; fn d() {}", "d").cfg_test);
        assert!(!place("struct S { #[cfg(test)] a: u8, d: u8 }", "d").cfg_test);
        assert!(!place("#[cfg(not(test))] fn d() {}", "d").cfg_test);
        assert!(place("#[cfg(test)] fn a<A, B>() { d }", "d").cfg_test);
        assert!(place("#![cfg(test)] fn a() {} fn d() {}", "d").cfg_test);
    }
}
