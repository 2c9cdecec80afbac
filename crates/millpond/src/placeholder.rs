//! Rewrites placeholders for each database, and checks the number of arguments.
//!
//! Every backend of [`DatabaseConnection`](crate::DatabaseConnection) understands `$1`; the `?` of
//! [`QueryBuilder`](sqlx::QueryBuilder) works too. SQLite accepts both. PostgreSQL gets `$1` for
//! `?` where a `?` can only be a placeholder; MySQL gets `?` for `$1`, and its arguments in that
//! order. SQLite treats a placeholder without an argument as NULL, where others refuse the
//! statement, so the arguments are counted before anything is sent.
//!
//! For PostgreSQL the types of the arguments are appended to the statement, in a comment. sqlx
//! caches a prepared statement by its text alone, with the argument types of its first execution:
//! an `f64` bound where an earlier argument was an `i64` would be read as another number. The
//! comment makes the texts different.

use crate::dialect::Dialect;
use crate::statement::{Outline, Placeholders};
use millpond_sqlx::backend_api::{Lexer, Syntax, Token};
use sqlx::any::{AnyArguments, AnyTypeInfoKind};
use sqlx::{Arguments, AssertSqlSafe, Error, SqlSafeStr, SqlStr};
use sqlx_core::any::AnyValueKind;

/// Returns the statement and its arguments in the form that the database needs.
///
/// # Errors
///
/// Returns an error if the number of arguments does not match the statement.
pub(crate) fn adapt(
    sql: SqlStr,
    arguments: Option<AnyArguments>,
    outline: &Outline,
    dialect: Dialect,
) -> Result<(SqlStr, Option<AnyArguments>), Error> {
    let found = outline.placeholders;
    let bound = arguments.as_ref().map_or(0, AnyArguments::len);
    if found.zero {
        return Err(refused("placeholders are counted from 1: there is no argument $0".to_owned()));
    }
    match dialect {
        Dialect::Sqlite => check(found.highest.max(found.unnumbered), bound)?,
        // A statement that defines something has its own placeholders; and an unnumbered `?` may be
        // an operator.
        Dialect::Postgres if bound == 0 && (outline.defines || found.numbered == 0) => {}
        Dialect::Postgres => {
            let sql = if found.numbered == 0 {
                check(found.unnumbered, bound).map_err(|error| hint(error, found))?;
                numbered(sql.as_str())
            } else {
                check(found.highest, bound)?;
                sql
            };
            return Ok((annotated(sql.as_str(), arguments.as_ref()), arguments));
        }
        Dialect::MySql if found.numbered == 0 => check(found.unnumbered, bound)?,
        Dialect::MySql if found.unnumbered > 0 => {
            return Err(refused(
                "the statement has placeholders of both kinds, `?` and `$1`: write one kind"
                    .to_owned(),
            ));
        }
        Dialect::MySql => {
            check(found.highest, bound)?;
            return Ok(unnumbered(sql.as_str(), arguments));
        }
    }
    Ok((sql, arguments))
}

/// Returns the statement in the database's form, to be prepared before its arguments are known; and
/// how many arguments it needs, if the database can no longer report that.
pub(crate) fn unbound(sql: &SqlStr, dialect: Dialect) -> (SqlStr, Option<usize>) {
    let found = Outline::of(sql.as_str(), dialect).placeholders;
    match dialect {
        Dialect::MySql if found.numbered > 0 => {
            (unnumbered(sql.as_str(), None).0, Some(found.highest))
        }
        _ => (sql.clone(), None),
    }
}

fn check(expected: usize, bound: usize) -> Result<(), Error> {
    if expected == bound {
        return Ok(());
    }
    Err(refused(if expected > bound {
        format!("the statement uses argument ${expected}, but {bound} are bound")
    } else {
        format!("{bound} arguments are bound, but the statement uses {expected}")
    }))
}

/// Adds a hint that PostgreSQL has `?` operators, if the statement has a `?`.
fn hint(error: Error, found: Placeholders) -> Error {
    match (error, found.unnumbered) {
        (Error::InvalidArgument(wrong), 1..) => refused(format!(
            "{wrong}; if a `?` is an operator of PostgreSQL, write the placeholders as $1, $2"
        )),
        (error, _) => error,
    }
}

fn refused(wrong: String) -> Error {
    Error::InvalidArgument(wrong)
}

/// Replaces each `?` with `$1`, `$2` and so on.
fn numbered(sql: &str) -> SqlStr {
    let mut number = 0_usize;
    rewritten(sql, Syntax::Postgres, |token| {
        (token == Token::Unnumbered).then(|| {
            number = number.saturating_add(1);
            format!("${number}")
        })
    })
}

/// Appends the types of the arguments to the statement.
fn annotated(sql: &str, arguments: Option<&AnyArguments>) -> SqlStr {
    let values = arguments.map(|arguments| arguments.values.0.as_slice()).unwrap_or_default();
    let types: Vec<_> = values.iter().map(postgres_type).collect();
    // After a `;` the comment would look like a second statement.
    let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    AssertSqlSafe(format!("{sql} /* {} */", types.join(", "))).into_sql_str()
}

/// Returns the PostgreSQL type of an argument.
fn postgres_type(value: &AnyValueKind) -> &'static str {
    match value {
        AnyValueKind::Null(AnyTypeInfoKind::Bool) | AnyValueKind::Bool(_) => "bool",
        AnyValueKind::Null(AnyTypeInfoKind::SmallInt) | AnyValueKind::SmallInt(_) => "int2",
        AnyValueKind::Null(AnyTypeInfoKind::Integer | AnyTypeInfoKind::Null)
        | AnyValueKind::Integer(_) => "int4",
        AnyValueKind::Null(AnyTypeInfoKind::BigInt) | AnyValueKind::BigInt(_) => "int8",
        AnyValueKind::Null(AnyTypeInfoKind::Real) | AnyValueKind::Real(_) => "float4",
        AnyValueKind::Null(AnyTypeInfoKind::Double) | AnyValueKind::Double(_) => "float8",
        AnyValueKind::Null(AnyTypeInfoKind::Blob) | AnyValueKind::Blob(_) => "bytea",
        // Any other argument is refused when it is encoded.
        _ => "text",
    }
}

/// Replaces each numbered placeholder with `?`, and returns an argument for each `?`.
fn unnumbered(sql: &str, arguments: Option<AnyArguments>) -> (SqlStr, Option<AnyArguments>) {
    let mut order = Vec::new();
    let sql = rewritten(sql, Syntax::MySql, |token| match token {
        Token::Numbered(number) => {
            order.push(number);
            Some("?".to_owned())
        }
        _ => None,
    });
    let arguments = arguments.map(|mut arguments| {
        let values = &arguments.values.0;
        // Every number has an argument: that was checked before.
        arguments.values.0 =
            order.iter().filter_map(|number| values.get(number.checked_sub(1)?).cloned()).collect();
        arguments
    });
    (sql, arguments)
}

/// Returns the text with some of its tokens replaced.
fn rewritten(
    sql: &str,
    syntax: Syntax,
    mut replace: impl FnMut(Token<'_>) -> Option<String>,
) -> SqlStr {
    let mut text = String::with_capacity(sql.len().saturating_add(16));
    let mut copied = 0;
    for (at, token) in Lexer::new(sql, syntax) {
        if let Some(replacement) = replace(token) {
            text.push_str(sql.get(copied..at.start).unwrap_or_default());
            text.push_str(&replacement);
            copied = at.end;
        }
    }
    text.push_str(sql.get(copied..).unwrap_or_default());
    // The new text differs from the old one only in placeholders.
    AssertSqlSafe(text).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(
        sql: &'static str,
        dialect: Dialect,
        bound: &[i64],
    ) -> Result<(String, Vec<String>), String> {
        let mut arguments = AnyArguments::default();
        for value in bound {
            arguments.add(*value).unwrap();
        }
        let outline = Outline::of(sql, dialect);
        let (sql, arguments) = adapt(sql.into_sql_str(), Some(arguments), &outline, dialect)
            .map_err(|error| error.to_string())?;
        let values = arguments.unwrap().values.0.iter().map(|value| format!("{value:?}")).collect();
        Ok((sql.as_str().to_owned(), values))
    }

    #[track_caller]
    fn becomes(dialect: Dialect, sql: &'static str, bound: &[i64], text: &str, order: &[i64]) {
        let values = order.iter().map(|value| format!("BigInt({value})")).collect();
        assert_eq!(fitted(sql, dialect, bound), Ok((text.to_owned(), values)), "{sql}");
    }

    #[test]
    fn supported_placeholders_are_left_unchanged() {
        let sql = "SELECT $2, $1, $2 -- $3";
        becomes(Dialect::Sqlite, sql, &[10, 20], sql, &[10, 20]);
        becomes(Dialect::Sqlite, "SELECT ?, ?", &[10, 20], "SELECT ?, ?", &[10, 20]);
        becomes(Dialect::MySql, "SELECT ?, ?", &[10, 20], "SELECT ?, ?", &[10, 20]);
    }

    #[test]
    fn postgresql_gets_numbers_for_question_marks() {
        let sql = "INSERT INTO t (a, \"b?\") VALUES (?, ?), ('?', ?)";
        let text = "INSERT INTO t (a, \"b?\") VALUES ($1, $2), ('?', $3) /* int8, int8, int8 */";
        becomes(Dialect::Postgres, sql, &[1, 2, 3], text, &[1, 2, 3]);
    }

    #[test]
    fn postgresql_operators_are_left_unchanged() {
        for sql in [
            "SELECT j ? 'a'",
            "PREPARE p AS SELECT $1",
            "CREATE FUNCTION f(int) RETURNS int BEGIN ATOMIC SELECT $1; END",
        ] {
            becomes(Dialect::Postgres, sql, &[], sql, &[]);
        }
        let sql = "SELECT j ?| array['a'] AND j ? 'a' AND k = $1";
        becomes(Dialect::Postgres, sql, &[1], &format!("{sql} /* int8 */"), &[1]);
        let error = fitted("SELECT j ? 'a' AND k = ?", Dialect::Postgres, &[1]).unwrap_err();
        assert!(error.contains("write the placeholders as $1"), "{error}");
    }

    #[test]
    fn argument_types_are_appended_before_a_final_semicolon() {
        for sql in ["SELECT $1", "SELECT $1;", "SELECT $1 ;\n"] {
            becomes(Dialect::Postgres, sql, &[1], "SELECT $1 /* int8 */", &[1]);
        }
        let mut arguments = AnyArguments::default();
        arguments.add(None::<f64>).unwrap();
        arguments.add("x").unwrap();
        arguments.add(None::<bool>).unwrap();
        assert_eq!(
            annotated("SELECT $1, $2, $3", Some(&arguments)),
            "SELECT $1, $2, $3 /* float8, text, bool */"
        );
    }

    #[test]
    fn mysql_gets_question_marks_for_numbers_and_its_arguments_in_that_order() {
        let sql = "SELECT $2, $1, '$1', $2";
        becomes(Dialect::MySql, sql, &[10, 20], "SELECT ?, ?, '$1', ?", &[20, 10, 20]);
        assert!(fitted("SELECT $1, ?", Dialect::MySql, &[1]).unwrap_err().contains("both kinds"));
    }

    #[test]
    fn placeholders_and_arguments_must_match() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
            let wrong = |sql, bound: &[i64]| fitted(sql, dialect, bound).unwrap_err();
            assert!(wrong("SELECT $1, $2", &[1]).contains("uses argument $2, but 1 are bound"));
            assert!(wrong("SELECT $1, $2", &[]).contains("uses argument $2, but 0 are bound"));
            assert!(
                wrong("SELECT $1, $2", &[1, 2, 3])
                    .contains("3 arguments are bound, but the statement uses 2")
            );
            assert!(wrong("SELECT ?, ?", &[1]).contains("uses argument $2"));
            assert!(wrong("SELECT 1", &[1]).contains("uses 0"));
            assert!(wrong("SELECT $0", &[1]).contains("counted from 1"));
            assert!(wrong("SELECT $99999999999999999999999", &[1]).contains("uses argument"));
        }
    }
}
