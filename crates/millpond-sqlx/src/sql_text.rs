//! Classifies statements by their text, without parsing SQL.
//!
//! Each answer errs on the safe side, as its documentation says. A backend handles what its server
//! reads differently from the others.

mod excerpt;
mod statement;
mod transaction_effect;
mod words;

pub(crate) use excerpt::{excerpt, label_of};
pub use statement::{StatementEffect, effect_of, first_keyword, is_single};
pub(crate) use transaction_effect::{Meaning, may_begin_with_a_commit, meaning, sets_completion};
pub use words::{is_blank, mentions, words};
