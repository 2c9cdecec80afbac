//! What the demo keeps in its database: accounts with money in them, of which none may get lost.

use millpond::DatabaseConnection;

/// Accounts in the bank.
pub const ACCOUNTS: i64 = 100;
/// What each has at first.
const MONEY: i64 = 1_000;
/// What all have together, at every moment that anybody can see.
pub const ALL_MONEY: i64 = ACCOUNTS * MONEY;
/// Lines in the journal: it is written round and round, so that a long demo does not fill the disk.
const LINES: i64 = 10_000;

/// Makes the tables.
pub async fn create_tables(db: &DatabaseConnection) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER NOT NULL CHECK (money >= 0))",
    )
    .execute(&mut tx)
    .await?;
    sqlx::query(
        "CREATE TABLE journal (line INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES \
         accounts, money INTEGER NOT NULL)",
    )
    .execute(&mut tx)
    .await?;
    for id in 0..ACCOUNTS {
        sqlx::query("INSERT INTO accounts (id, money) VALUES ($1, $2)")
            .bind(id)
            .bind(MONEY)
            .execute(&mut tx)
            .await?;
    }
    tx.commit().await
}

/// Moves money from one account to another, as far as there is any, and writes it down.
pub async fn transfer(db: &DatabaseConnection, from: i64, to: i64, line: i64) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let (money,): (i64,) = sqlx::query_as("SELECT min(money, 7) FROM accounts WHERE id = $1")
        .bind(from)
        .fetch_one(&mut tx)
        .await?;
    sqlx::query("UPDATE accounts SET money = money - $1 WHERE id = $2")
        .bind(money)
        .bind(from)
        .execute(&mut tx)
        .await?;
    sqlx::query("UPDATE accounts SET money = money + $1 WHERE id = $2")
        .bind(money)
        .bind(to)
        .execute(&mut tx)
        .await?;
    sqlx::query("REPLACE INTO journal (line, account, money) VALUES ($1, $2, $3)")
        .bind(line % LINES)
        .bind(to)
        .bind(money)
        .execute(&mut tx)
        .await?;
    tx.commit().await
}

/// All the money in the bank.
pub async fn count(db: &DatabaseConnection) -> sqlx::Result<i64> {
    let (money,): (i64,) = sqlx::query_as("SELECT sum(money) FROM accounts").fetch_one(db).await?;
    Ok(money)
}
