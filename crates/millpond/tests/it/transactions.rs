//! Transactions own their connection; the next borrower never sees uncommitted changes.

use crate::world::{names, users};
use millpond::{AnyConnection, DatabaseConnection};

async fn add(link: &mut dyn AnyConnection, name: &str) {
    sqlx::query("INSERT INTO users (name) VALUES ($1)")
        .bind(name)
        .execute(&mut *link)
        .await
        .unwrap();
    // A second statement on the same connection: the reborrow works.
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM users WHERE name = $1")
        .bind(name)
        .fetch_one(link)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn committed_changes_last_and_rolled_back_ones_do_not() {
    for db in users(&[]).await {
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Ada").await;
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Grace").await;
        tx.rollback().await.unwrap();
        assert_eq!(names(&db).await, ["Ada"]);
    }
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_before_its_connection_is_lent_again() {
    for db in users(&[]).await {
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Ada").await;
        drop(tx);
        assert_eq!(names(&db).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_savepoint_is_rolled_back_without_its_transaction() {
    for db in users(&[]).await {
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Ada").await;
        let mut inner = tx.begin().await.unwrap();
        add(&mut *inner, "Grace").await;
        inner.rollback().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        add(&mut *inner, "Edsger").await;
        inner.commit().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        add(&mut *inner, "Barbara").await;
        drop(inner);
        add(&mut *tx, "Niklaus").await;
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["Ada", "Edsger", "Niklaus"]);
    }
}

#[tokio::test]
async fn a_transaction_can_be_sent_to_another_task() {
    async fn begun(db: DatabaseConnection) -> millpond::DatabaseTransaction<'static> {
        db.begin().await.unwrap()
    }
    for db in users(&[]).await {
        let mut tx = begun(db.clone()).await;
        let task = tokio::spawn(async move {
            add(&mut *tx, "Ada").await;
            tx.commit().await
        });
        task.await.unwrap().unwrap();
        assert_eq!(names(&db).await, ["Ada"]);
    }
}

#[tokio::test]
async fn a_raw_begin_is_not_lent_on() {
    for db in users(&[]).await {
        sqlx::raw_sql("BEGIN").execute(&db).await.unwrap();
        sqlx::query("INSERT INTO users (name) VALUES ('Ada')").execute(&db).await.unwrap();
        assert_eq!(names(&db).await, ["Ada"], "the insert was a statement of its own");
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Grace").await;
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_the_server_has_ended_or_refuses_is_not_committed() {
    for db in users(&[]).await {
        let ends = match db.dialect() {
            millpond::Dialect::Sqlite => {
                "INSERT OR ROLLBACK INTO users (id, name) VALUES (7, 'x'), (7, 'y')"
            }
            millpond::Dialect::Postgres => "SELECT 1 / 0",
            _ => "ROLLBACK",
        };
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Ada").await;
        let _ = sqlx::query(ends).execute(&mut *tx).await;
        sqlx::query("INSERT INTO users (name) VALUES ('Grace')")
            .execute(&mut *tx)
            .await
            .unwrap_err();
        let error = tx.commit().await.unwrap_err();
        assert!(millpond::transaction_lost(&error).is_some(), "{error:?}");
        assert_eq!(names(&db).await, [""; 0]);
        let mut tx = db.begin().await.unwrap();
        add(&mut *tx, "Ada").await;
        tx.commit().await.unwrap();
        assert_eq!(names(&db).await, ["Ada"]);
    }
}
