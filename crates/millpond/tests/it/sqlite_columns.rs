//! Every type of SQLite, and every value that does not match its column's declaration: the right
//! value, or an error that names the column.

use crate::world::{Directory, memory};
use millpond::{DatabaseConnection, PoolKind};
use sqlx::any::AnyRow;
use sqlx::{Any, Column, Decode, Row, Type, TypeInfo};

/// Returns a row with every declaration that the driver knows and some that it does not know.
async fn table(values: &'static str) -> AnyRow {
    let db = memory().await;
    let create = "CREATE TABLE t (
        flag BOOLEAN, flag2 BOOL, small SMALLINT, four INT4, whole INTEGER, eight BIGINT, big \
        UNSIGNED BIG INT,
        real REAL, double DOUBLE PRECISION, float FLOAT, words TEXT, short VARCHAR(10), clob CLOB, \
        bytes BLOB,
        day DATE, hour TIME, moment DATETIME, instant TIMESTAMP, price DECIMAL(10, 2), amount \
        NUMERIC, anything)";
    sqlx::query(create).execute(&db).await.unwrap();
    sqlx::query(values).execute(&db).await.unwrap();
    sqlx::query("SELECT * FROM t").fetch_one(&db).await.unwrap()
}

#[track_caller]
fn refused<'r, T: Decode<'r, Any> + Type<Any> + std::fmt::Debug>(row: &'r AnyRow, column: &str) {
    let error = row.try_get::<T, _>(column).unwrap_err();
    assert!(
        matches!(&error, sqlx::Error::ColumnDecode { index, .. } if index.contains(column)),
        "{error}"
    );
}

#[tokio::test]
async fn every_column_type_is_read_with_its_own_type() {
    let row = table(
        "INSERT INTO t VALUES (1, 0, -5, 4, 9223372036854775807, -9223372036854775808, 7,
            1.5, 2.5, 3.5, 'text', 'short', 'clob', x'00ff',
            '2024-02-29', '12:34:56', '2024-02-29 12:34:56', '2024-02-29T12:34:56Z', 10.25, \
            1e300, 'any')",
    )
    .await;
    assert_eq!((row.get::<bool, _>("flag"), row.get::<bool, _>("flag2")), (true, false));
    assert_eq!((row.get::<i16, _>("small"), row.get::<i32, _>("four")), (-5, 4));
    assert_eq!(
        (row.get::<i64, _>("whole"), row.get::<i64, _>("eight"), row.get::<i32, _>("big")),
        (i64::MAX, i64::MIN, 7)
    );
    assert_eq!(
        (row.get::<f64, _>("real"), row.get::<f64, _>("double"), row.get::<f64, _>("float")),
        (1.5, 2.5, 3.5)
    );
    for (column, text) in
        [("words", "text"), ("short", "short"), ("clob", "clob"), ("anything", "any")]
    {
        assert_eq!(row.get::<String, _>(column), text);
        assert_eq!(row.get::<&str, _>(column), text);
    }
    assert_eq!(row.get::<Vec<u8>, _>("bytes"), [0, 255]);
    for (column, text) in [
        ("day", "2024-02-29"),
        ("hour", "12:34:56"),
        ("moment", "2024-02-29 12:34:56"),
        ("instant", "2024-02-29T12:34:56Z"),
    ] {
        assert_eq!(row.get::<String, _>(column), text);
    }
    assert_eq!((row.get::<f64, _>("price"), row.get::<f64, _>("amount")), (10.25, 1e300));
}

#[tokio::test]
async fn null_is_none_in_every_column_and_never_a_value() {
    let row = table("INSERT INTO t DEFAULT VALUES").await;
    for column in row.columns() {
        let at = column.ordinal();
        assert_eq!(row.try_get::<Option<bool>, _>(at).unwrap(), None, "{}", column.name());
        assert_eq!(row.try_get::<Option<i64>, _>(at).unwrap(), None, "{}", column.name());
        assert_eq!(row.try_get::<Option<f64>, _>(at).unwrap(), None, "{}", column.name());
        assert_eq!(row.try_get::<Option<String>, _>(at).unwrap(), None, "{}", column.name());
        assert_eq!(row.try_get::<Option<Vec<u8>>, _>(at).unwrap(), None, "{}", column.name());
    }
    refused::<bool>(&row, "flag");
    refused::<i64>(&row, "whole");
    refused::<f64>(&row, "price");
    refused::<String>(&row, "day");
    refused::<Vec<u8>>(&row, "bytes");
}

#[tokio::test]
async fn a_value_that_does_not_match_its_declaration_keeps_its_stored_type() {
    let row = table(
        "INSERT INTO t VALUES ('yes', 2, 'text', x'01', 'many', 'none', 1.5,
            'high', x'02', 'low', x'0102', 12, 34, 'bytes',
            20240229, 0.5, 1709210096, 2460369.5, 10, 'ten', x'03')",
    )
    .await;
    assert_eq!(row.get::<String, _>("flag"), "yes");
    assert_eq!(row.get::<i64, _>("flag2"), 2);
    assert_eq!(row.get::<String, _>("small"), "text");
    assert_eq!(row.get::<Vec<u8>, _>("four"), [1]);
    assert_eq!(row.get::<String, _>("real"), "high");
    assert_eq!(row.get::<Vec<u8>, _>("words"), [1, 2]);
    // TEXT affinity turns a number into text on its way in.
    assert_eq!(row.get::<String, _>("short"), "12");
    assert_eq!(row.get::<String, _>("bytes"), "bytes");
    assert_eq!(
        (row.get::<i64, _>("day"), row.get::<i64, _>("moment")),
        (20_240_229, 1_709_210_096)
    );
    assert_eq!((row.get::<f64, _>("hour"), row.get::<f64, _>("instant")), (0.5, 2_460_369.5));
    assert_eq!(row.get::<i64, _>("price"), 10);
    assert_eq!(row.get::<String, _>("amount"), "ten");
    assert_eq!(row.get::<Vec<u8>, _>("anything"), [3]);
}

#[tokio::test]
async fn a_value_that_does_not_fit_the_requested_type_is_an_error_that_names_the_column() {
    let row = table(
        "INSERT INTO t (flag, flag2, whole, eight, real, words, day, bytes) VALUES ('yes', 2, \
         70000, 4294967296, 1.5, '1', 'x', x'01')",
    )
    .await;
    refused::<bool>(&row, "flag");
    refused::<bool>(&row, "flag2");
    refused::<i16>(&row, "whole");
    refused::<i32>(&row, "eight");
    refused::<i64>(&row, "real");
    refused::<i64>(&row, "words");
    refused::<i64>(&row, "day");
    refused::<String>(&row, "bytes");
    refused::<bool>(&row, "whole");
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_is_an_error_that_names_the_column() {
    let db = memory().await;
    let error = sqlx::query("SELECT 1 AS good, CAST(x'ff' AS TEXT) AS broken")
        .fetch_one(&db)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, sqlx::Error::ColumnDecode { index, .. } if index == "broken"),
        "{error}"
    );
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn one_column_may_hold_a_different_type_in_every_row() {
    let db = memory().await;
    let rows =
        sqlx::query("SELECT column1 AS v FROM (VALUES (1), (1.5), ('one'), (x'01'), (NULL))")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(rows[0].get::<i64, _>("v"), 1);
    assert_eq!(rows[1].get::<f64, _>("v"), 1.5);
    assert_eq!(rows[2].get::<String, _>("v"), "one");
    assert_eq!(rows[3].get::<Vec<u8>, _>("v"), [1]);
    assert_eq!(rows[4].get::<Option<String>, _>("v"), None);
}

#[tokio::test]
async fn every_argument_is_stored_with_its_own_type() {
    let db = memory().await;
    let types =
        async |query: sqlx::query::QueryScalar<'static, Any, String, sqlx::any::AnyArguments>| {
            query.fetch_one(&db).await.unwrap()
        };
    let ask = || sqlx::query_scalar("SELECT typeof($1) || ' ' || coalesce(quote($1), '')");
    assert_eq!(types(ask().bind(true)).await, "integer 1");
    assert_eq!(types(ask().bind(-3_i16)).await, "integer -3");
    assert_eq!(types(ask().bind(70_000_i32)).await, "integer 70000");
    assert_eq!(types(ask().bind(i64::MIN)).await, "integer -9223372036854775808");
    assert_eq!(types(ask().bind(0.5_f32)).await, "real 0.5");
    assert_eq!(types(ask().bind(0.1_f64)).await, "real 0.1");
    assert_eq!(types(ask().bind("it's")).await, "text 'it''s'");
    assert_eq!(types(ask().bind(String::new())).await, "text ''");
    assert_eq!(types(ask().bind(vec![0_u8, 255])).await, "blob X'00FF'");
    assert_eq!(types(ask().bind(Vec::<u8>::new())).await, "blob X''");
    assert_eq!(types(ask().bind(Some(5_i64))).await, "integer 5");
}

#[tokio::test]
async fn null_and_then_a_value_work_in_the_same_statement() {
    let db = memory().await;
    let ask = || sqlx::query_scalar::<_, String>("SELECT typeof($1)");
    for _ in 0..2 {
        assert_eq!(ask().bind(None::<f64>).fetch_one(&db).await.unwrap(), "null");
        assert_eq!(ask().bind(Some(1.5_f64)).fetch_one(&db).await.unwrap(), "real");
        assert_eq!(ask().bind(None::<f32>).fetch_one(&db).await.unwrap(), "null");
        assert_eq!(ask().bind(Some(1.5_f32)).fetch_one(&db).await.unwrap(), "real");
        assert_eq!(ask().bind(None::<bool>).fetch_one(&db).await.unwrap(), "null");
        assert_eq!(ask().bind(None::<String>).fetch_one(&db).await.unwrap(), "null");
        assert_eq!(ask().bind(None::<Vec<u8>>).fetch_one(&db).await.unwrap(), "null");
    }
}

#[tokio::test]
async fn a_column_has_its_name_position_and_kind() {
    let row = table("INSERT INTO t DEFAULT VALUES").await;
    let kind = |name: &str| row.column(name).type_info().name().to_owned();
    assert_eq!(
        (kind("flag"), kind("whole"), kind("day")),
        ("BOOLEAN".into(), "BIGINT".into(), "TEXT".into())
    );
    assert_eq!(
        (kind("real"), kind("bytes"), kind("price")),
        ("DOUBLE".into(), "BLOB".into(), "NULL".into())
    );
    assert_eq!(row.column(1).name(), "flag2");
}

#[tokio::test]
async fn a_table_that_was_rebuilt_or_has_more_columns_is_read_correctly() {
    let files = Directory::new();
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let url = files.url(&format!("{kind:?}.db"));
        let db = DatabaseConnection::builder(&url).pool(kind).pool_size(2).connect().await.unwrap();
        let create =
            "CREATE TABLE users (name TEXT, email TEXT); INSERT INTO users VALUES ('ann', 'a@b')";
        sqlx::raw_sql(create).execute(&db).await.unwrap();
        let other =
            DatabaseConnection::builder(&url).pool(PoolKind::Queue).connect().await.unwrap();
        let swap = "BEGIN; CREATE TABLE new (email TEXT, name TEXT); INSERT INTO new SELECT email, \
            name FROM users; DROP TABLE users; ALTER TABLE new RENAME TO users; COMMIT";
        for (by, change, columns) in [
            (&db, "SELECT 1", 2),
            (&other, swap, 2),
            (&db, "ALTER TABLE users ADD COLUMN age INTEGER", 3),
            (&other, "ALTER TABLE users ADD COLUMN size INTEGER", 4),
        ] {
            sqlx::raw_sql(change).execute(by).await.unwrap();
            let rows = sqlx::query("SELECT * FROM users").fetch_all(&db).await.unwrap();
            assert_eq!((rows.len(), rows[0].columns().len()), (1, columns), "{kind:?} {change}");
            let row = sqlx::query("SELECT * FROM users WHERE name = $1")
                .bind("ann")
                .fetch_one(&db)
                .await
                .unwrap();
            for row in [&row, &rows[0]] {
                assert_eq!(
                    (row.get::<&str, _>("name"), row.get::<&str, _>("email")),
                    ("ann", "a@b"),
                    "{kind:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_redeclared_column_is_read_with_its_new_type() {
    const REBUILT: &str = "BEGIN; CREATE TABLE new (id INTEGER, done BOOLEAN); INSERT INTO new \
        SELECT id, done FROM todo; DROP TABLE todo; ALTER TABLE new RENAME TO todo; COMMIT";
    const READ: &str = "SELECT done FROM todo";
    let files = Directory::new();
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        for by_another_process in [false, true] {
            let url = files.url(&format!("{kind:?}-{by_another_process}.db"));
            let builder = DatabaseConnection::builder(&url).pool(kind).pool_size(1).max_overflow(0);
            let db = builder.connect().await.unwrap();
            let create =
                "CREATE TABLE todo (id INTEGER, done INTEGER); INSERT INTO todo VALUES (1, 1)";
            sqlx::raw_sql(create).execute(&db).await.unwrap();
            assert_eq!(sqlx::query_scalar::<_, i64>(READ).fetch_one(&db).await.unwrap(), 1);
            let other = DatabaseConnection::connect(&url).await.unwrap();
            let by = if by_another_process { &other } else { &db };
            sqlx::raw_sql(REBUILT).execute(by).await.unwrap();
            let is_same = kind == PoolKind::Queue && !by_another_process;
            let since = std::time::Instant::now();
            loop {
                match sqlx::query_scalar::<_, bool>(READ).fetch_one(&db).await {
                    Ok(done) => break assert!(done),
                    // The schema version is checked only from time to time.
                    Err(error) => assert!(!is_same && since.elapsed().as_secs() < 20, "{error}"),
                }
            }
        }
    }
}
