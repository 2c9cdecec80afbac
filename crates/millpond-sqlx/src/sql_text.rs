//! Reads SQL texts, without parsing them: everything that is judged by the text of a statement is
//! judged here.
//!
//! Each answer is wrong only on the safe side, as its documentation says. What one server reads
//! differently from the others is the business of its backend.

mod excerpt;
mod statement;
mod transaction_effect;
mod words;

pub(crate) use excerpt::{excerpt, label_of};
pub use statement::{StatementEffect, effect_of, first_keyword, is_single};
pub(crate) use transaction_effect::{Meaning, may_begin_with_a_commit, meaning, sets_completion};
pub use words::{is_blank, mentions, words};
