//! The demo's database: accounts whose total must never change.

use millpond::DatabaseConnection;

/// The number of accounts.
pub const ACCOUNTS: i64 = 100;
/// The initial money of each account.
const MONEY: i64 = 1_000;
/// The money of all accounts together, in every committed state.
pub const ALL_MONEY: i64 = ACCOUNTS * MONEY;
/// Lines in the journal. They are overwritten in turn, so that a long demo does not fill the disk.
const LINES: i64 = 10_000;

/// Creates the tables.
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

/// Moves up to 7 units of money from one account to another, and records the transfer.
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

/// Returns the money of all accounts together.
pub async fn count(db: &DatabaseConnection) -> sqlx::Result<i64> {
    let (money,): (i64,) = sqlx::query_as("SELECT sum(money) FROM accounts").fetch_one(db).await?;
    Ok(money)
}
