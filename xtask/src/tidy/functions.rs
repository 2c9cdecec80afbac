//! The functions of a file, found in its tokens, so that those inside macros are found too.

use std::ops::Range;

use proc_macro2::Delimiter;

use super::tokens::{Kind, Token};

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The lines from `fn` to the closing brace, the last one included.
    pub lines: (usize, usize),
    /// Attributes and qualifiers: the tokens before `fn` that belong to it.
    pub head: Range<usize>,
    /// The tokens of its body, braces included.
    pub body: Range<usize>,
}

/// Every function with a body, outer ones before those inside them.
pub fn find(tokens: &[Token]) -> Vec<Function> {
    let starts = tokens.iter().enumerate().filter(|(_, token)| token.is("fn"));
    starts.filter_map(|(at, _)| function_at(tokens, at)).collect()
}

fn function_at(tokens: &[Token], at: usize) -> Option<Function> {
    // `fn(u8) -> u8` is a type and has no name.
    let name = tokens.get(at + 1)?.ident()?.to_owned();
    let body = body_after(tokens, at + 2)?;
    let lines = (tokens.get(at)?.lines.0, tokens.get(body.end - 1)?.lines.1);
    Some(Function { name, lines, head: head_before(tokens, at)..at, body })
}

fn body_after(tokens: &[Token], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let token = tokens.get(at)?;
        match &token.kind {
            Kind::Open(Delimiter::Brace) if !is_const_argument(tokens, at) => return Some(at..token.mate + 1),
            Kind::Open(_) => at = token.mate + 1,
            // A method without a body, or the end of the macro that only looked like a function.
            Kind::Punct(';') | Kind::Close(_) => return None,
            _ => at += 1,
        }
    }
}

/// `Array<{ N + 1 }>`: braces that are an argument, not a body.
fn is_const_argument(tokens: &[Token], open: usize) -> bool {
    let before = open.checked_sub(1).and_then(|at| tokens.get(at));
    let after = tokens.get(open).and_then(|token| tokens.get(token.mate + 1));
    let opens_list = before.is_some_and(|token| token.is_punct('<'));
    let in_list = before.is_some_and(|token| token.is_punct(','))
        && after.is_some_and(|token| token.is_punct('>') || token.is_punct(','));
    opens_list || in_list
}

fn head_before(tokens: &[Token], function: usize) -> usize {
    const QUALIFIERS: [&str; 6] = ["pub", "async", "const", "unsafe", "extern", "default"];
    let mut start = function;
    while let Some(token) = start.checked_sub(1).and_then(|at| tokens.get(at)) {
        let before_group = token.mate.checked_sub(1).and_then(|at| tokens.get(at));
        let qualifier = token.ident().is_some_and(|name| QUALIFIERS.contains(&name));
        start = match &token.kind {
            Kind::Doc | Kind::Literal(_) => start - 1,
            Kind::Ident(_) if qualifier => start - 1,
            Kind::Close(Delimiter::Parenthesis) if before_group.is_some_and(|token| token.is("pub")) => token.mate,
            Kind::Close(Delimiter::Bracket) if before_group.is_some_and(|token| token.is_punct('#')) => token.mate - 1,
            _ => break,
        };
    }
    start
}

#[cfg(test)]
mod tests {
    use super::super::tokens::flatten;
    use super::*;

    #[test]
    fn functions_are_found_with_their_attributes_and_bodies() {
        let text = "struct A(fn(u8));\n#[test]\n/// Doc.\npub(crate) async fn one() -> B<{ 1 }>\nwhere C: D, {\n fn two() {}\n}\n";
        let tokens = flatten(text.parse().unwrap());
        let found = find(&tokens);
        let names: Vec<_> = found.iter().map(|function| (function.name.as_str(), function.lines)).collect();
        assert_eq!(names, [("one", (4, 7)), ("two", (6, 6))]);
        assert!(tokens[found[0].head.clone()].iter().any(|token| token.is("test")));
        assert!(!tokens[found[1].head.clone()].iter().any(|token| token.is("test")));
    }

    #[test]
    fn a_method_without_a_body_is_not_one() {
        assert!(find(&flatten("trait A { fn a(&self); fn b(&self) -> u8; }".parse().unwrap())).is_empty());
    }

    #[test]
    fn functions_inside_macros_are_found() {
        let tokens = flatten("conformance! { async fn a() { b } }".parse().unwrap());
        assert_eq!(find(&tokens).len(), 1);
    }
}
