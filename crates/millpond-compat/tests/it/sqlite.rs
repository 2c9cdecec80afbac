//! r2d2's SQLite manager, whose methods block.

use millpond_compat::{R2d2, R2d2Connection};
use millpond_core::BoxError;
use millpond_testkit::Fixture;
use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::Connection;

struct Memory;

impl Fixture for Memory {
    type Manager = R2d2<SqliteConnectionManager>;

    async fn manager(&self) -> Result<Self::Manager, String> {
        Ok(R2d2::new(SqliteConnectionManager::memory()))
    }

    async fn ask(
        &self,
        conn: &mut R2d2Connection<Connection>,
        number: i64,
    ) -> Result<i64, BoxError> {
        let answer = conn
            .interact(move |conn| conn.query_row("SELECT ?1", [number], |row| row.get(0)))
            .await?;
        Ok(answer?)
    }
}

mod memory {
    millpond_testkit::conformance! { fixture = super::Memory, can = [Answers] }
}
