//! Reads the texts of statements, without parsing SQL.
//!
//! What holds for every backend alike is read by words, and errs on the safe side where databases
//! differ. What depends on the database is read by the [`Lexer`].

mod excerpt;
mod lexer;
mod statement;
mod transaction_effect;
mod words;

pub(crate) use excerpt::{excerpt, label_of};
pub use lexer::{Lexer, Syntax, Token};
pub use statement::{StatementEffect, effect_of, first_keyword, is_single};
pub(crate) use transaction_effect::{Meaning, may_begin_with_a_commit, meaning, sets_completion};
pub use words::{is_blank, mentions, words};
