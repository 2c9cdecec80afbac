//! Texts that seem to end a transaction, or seem not to: whatever the server makes of a text,
//! `commit` and `rollback` of its transaction report correctly whether the rows were kept.
//!
//! The texts are written by hand, and by a generator: 500, or as many as `MILLPOND_TEXTS` says,
//! with the seed `MILLPOND_TEXTS_SEED`.

use crate::backend::{Db, Pool};
use millpond_sqlx::Transaction;
use sqlx::{AssertSqlSafe, Error, Executor, raw_sql};
use std::env;

/// Texts that have misled a parser, or might.
const TEXTS: [&str; 47] = [
    "COMMIT AND CHAIN; SELECT nonsense",
    "ROLLBACK /* back to the start */",
    "ROLLBACK -- to be sure",
    "ROLLBACK -- to be sure\n",
    "ROLLBACK -- ;\n TO a",
    "ROLLBACK # to\n",
    "ROLLBACK /*! TO a */",
    "ROLLBACK /* /* */ TO a */",
    "ROLLBACK /* /* */ */ TO a",
    "ROLLBACK WORK /* to */",
    "ROLLBACK TRANSACTION \"to\"",
    "ROLLBACK TRANSACTION to TO a",
    "ROLLBACK TRANSACTION x TO a",
    "ROLLBACK TRANSACTION TO SAVEPOINT a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "ROLLBACK\u{b}TO a",
    "ROLLBACK AND CHAIN /* traceparent='x',route='go to' */",
    "SELECT 1; ROLLBACK /* back to the start */",
    "SELECT 1; ROLLBACK /* back to the start */; BEGIN",
    "SELECT 1; ROLLBACK -- ;\n",
    "SELECT 1; ROLLBACK -- to\n AND CHAIN",
    "ROLLBACK; BEGIN",
    "ABORT /* to */; BEGIN",
    "COMMIT /* to */",
    "COMMIT -- ;\n AND CHAIN",
    "COMMIT /* a;b */ AND CHAIN",
    "COMMIT /*! ; */ AND CHAIN",
    "SELECT 1; COMMIT -- ;\n AND CHAIN",
    "SELECT 1; COMMIT -- to\n AND CHAIN",
    "COMMIT AND NO CHAIN",
    "COMMIT TRANSACTION x",
    "COMMIT PREPARED 'x'",
    "PREPARE -- ;\nTRANSACTION 'x'",
    "END; BEGIN",
    "/*!COMMIT*/; BEGIN",
    "SELECT 1 /*!; COMMIT AND CHAIN */",
    "SELECT 'it''s;' /* ; */; COMMIT; BEGIN",
    "SELECT E'\\'; COMMIT; BEGIN; --'",
    "SELECT $$; COMMIT; BEGIN; $$",
    "SELECT '\\'; COMMIT; BEGIN; -- '",
    "SELECT 1 AS [; COMMIT; BEGIN; --]",
    "DO $$ BEGIN COMMIT; END $$",
    "CREATE TABLE IF NOT EXISTS u (i INT); SAVEPOINT b; BEGIN",
    "BEGIN; SAVEPOINT b",
    "IF 1 THEN ROLLBACK; START TRANSACTION; END IF",
    "BEGIN NOT ATOMIC COMMIT; START TRANSACTION; SAVEPOINT a; END",
    "CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END",
];

const STATEMENTS: [&str; 32] = [
    "BEGIN",
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "COMMIT WORK",
    "COMMIT AND CHAIN",
    "END",
    "ROLLBACK",
    "ROLLBACK",
    "ROLLBACK TRANSACTION",
    "ROLLBACK AND CHAIN",
    "ROLLBACK AND NO CHAIN",
    "ABORT",
    "ROLLBACK TO a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "ROLLBACK TRANSACTION TO SAVEPOINT b",
    "ROLLBACK TRANSACTION x",
    "SAVEPOINT a",
    "SAVEPOINT b",
    "RELEASE SAVEPOINT a",
    "RELEASE SAVEPOINT b",
    "SELECT 1",
    "SELECT 'to; COMMIT'",
    "SELECT E'\\'; COMMIT; --'",
    "SELECT '\\'; COMMIT; -- '",
    "SELECT $$; ROLLBACK; $$",
    "SELECT 1 AS \"; COMMIT; \"",
    "INSERT INTO t VALUES (0)",
    "CREATE TABLE IF NOT EXISTS u (i INT)",
    "SET autocommit = 0",
    "SET completion_type = 1",
    "EXECUTE IMMEDIATE 'COMMIT AND CHAIN'",
];

const GAPS: [&str; 16] = [
    "\n",
    "\t",
    "\u{b}",
    " /* to */ ",
    "/* a;b */",
    "/*;*/",
    " -- ;\n",
    " -- to\n",
    "--to\n",
    " # to\n",
    " /*! TO a */ ",
    "/*!99999 AND CHAIN */",
    "/*! ; */",
    " /* /* */ ",
    " /* /* */ */ ",
    " -- to\r",
];

fn one<'a>(list: &[&'a str]) -> &'a str {
    list[fastrand::usize(..list.len())]
}

/// Generates one or several statements, with comments between the words.
fn text() -> String {
    let mut text = String::new();
    for n in 0..[1, 1, 2, 2, 3][fastrand::usize(..5)] {
        text += if n > 0 { ";" } else { "" };
        for (n, word) in one(&STATEMENTS).split(' ').enumerate() {
            text +=
                if fastrand::u8(..4) == 0 { one(&GAPS) } else { [" ", ""][usize::from(n == 0)] };
            text += word;
        }
    }
    text + one(&["", "", "", ";", " -- to", "/* to */", " -- ;\n", "; -- to"])
}

async fn insert(tx: &mut Transaction<'_, Db>, i: i32) -> Result<(), Error> {
    tx.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.map(drop)
}

/// How a transaction is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    Drop,
}

impl End {
    /// Ends the transaction. Returns true if the changes were reported as kept, false if as undone.
    async fn of(self, tx: Transaction<'_, Db>) -> Option<bool> {
        match self {
            Self::Commit => tx.commit().await.ok().map(|()| true),
            Self::Rollback => tx.rollback().await.ok().map(|()| false),
            Self::Drop => None,
        }
    }
}

/// Executes a text in a transaction, between two inserts. Returns what is wrong with the rows
/// afterwards.
async fn in_a_transaction(pool: &Pool, text: &str, fails: bool, end: End) -> Option<String> {
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("SAVEPOINT a").await.unwrap();
    if fails {
        tx.execute("SELECT nonsense").await.unwrap_err();
    }
    let executed = raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut *tx).await.map(drop);
    let second = insert(&mut tx, 2).await;
    let kept = end.of(tx).await;
    let rows = rows(pool).await;
    let (has_one, has_two) = (rows.contains(&1), rows.contains(&2));
    let is_right = match kept {
        Some(true) => has_one && has_two == second.is_ok(),
        Some(false) => !has_one && !has_two,
        // The end failed or was not observed. The text may have committed the first row.
        None => !has_two,
    };
    (!is_right).then(|| {
        format!("{text:?}: {executed:?}, {second:?}, fails {fails}, {end:?} {kept:?}: {rows:?}")
    })
}

/// Executes a text in a savepoint, between two inserts. Returns what is wrong with the rows
/// afterwards.
async fn in_a_savepoint(pool: &Pool, text: &str, end: End) -> Option<String> {
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("SAVEPOINT a").await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    insert(&mut inner, 2).await.unwrap();
    let executed = raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut *inner).await.map(drop);
    let third = insert(&mut inner, 3).await;
    let inner_kept = end.of(inner).await;
    let kept = tx.commit().await.is_ok();
    let rows = rows(pool).await;
    let [has_one, has_two, has_three] = [1, 2, 3].map(|i| rows.contains(&i));
    let is_right = match inner_kept {
        Some(true) if kept => has_one && has_two && has_three == third.is_ok(),
        Some(false) if kept => has_one && !has_two && !has_three,
        None if kept && end == End::Drop => has_one && !has_two && !has_three,
        None if kept => has_one,
        _ => !has_three,
    };
    (!is_right).then(|| {
        format!(
            "{text:?} in a savepoint: {executed:?}, {third:?}, {end:?} {inner_kept:?}, \
             {kept}: {rows:?}"
        )
    })
}

async fn rows(pool: &Pool) -> Vec<i32> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Executes all texts. The pool must have a table `t` with a column `i`.
pub async fn no_text_deceives_a_transaction(pool: &Pool) {
    const ENDS: [End; 3] = [End::Commit, End::Rollback, End::Drop];
    let (count, seed) = (number("MILLPOND_TEXTS", 500), number("MILLPOND_TEXTS_SEED", 4711));
    fastrand::seed(seed);
    let mut rounds = Vec::new();
    for text in TEXTS {
        rounds.extend((0..9).map(|n| (text.to_owned(), n / 3, ENDS[n % 3])));
    }
    rounds.extend((0..count).map(|_| (text(), fastrand::usize(..3), ENDS[fastrand::usize(..3)])));
    let mut wrong = Vec::new();
    for (text, place, end) in rounds {
        let found = match place {
            0 => in_a_transaction(pool, &text, false, end).await,
            1 => in_a_transaction(pool, &text, true, end).await,
            _ => in_a_savepoint(pool, &text, end).await,
        };
        wrong.extend(found);
        pool.execute("DELETE FROM t").await.unwrap();
    }
    let some: Vec<_> = wrong.iter().take(40).collect();
    assert!(wrong.is_empty(), "seed {seed}: {} times, such as {some:#?}", wrong.len());
}
