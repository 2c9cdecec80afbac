//! Every type of MariaDB and MySQL: the value as the server itself writes it, or an error that
//! names the column.

use crate::world::databases;
use millpond::DatabaseConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo};

/// A type, and values of it as SQL literals.
type Samples = (&'static str, &'static [&'static str]);

/// Types that become text. The expected text is what the server's cast to CHAR yields; for times
/// without trailing zeros in the decimals.
const AS_TEXT: [Samples; 22] = [
    ("CHAR(5)", &["'ab'", "''"]),
    ("VARCHAR(20)", &["'ünïcödé 字'", "'it''s'"]),
    ("VARCHAR(20) COLLATE utf8mb4_bin", &["'compared by bytes'"]),
    ("VARCHAR(20) CHARACTER SET latin1", &["'ü'"]),
    ("TINYTEXT", &["'a'"]),
    ("TEXT", &["'a'"]),
    ("MEDIUMTEXT", &["'a'"]),
    ("LONGTEXT", &["'a'"]),
    ("JSON", &["'{\"a\": [1, null]}'"]),
    ("ENUM('happy', 'so so')", &["'so so'"]),
    ("SET('a', 'b', 'c')", &["'a,c'", "''"]),
    ("DECIMAL(10, 2)", &["10.25", "-0.01", "99999999.99", "0"]),
    ("DECIMAL(65, 30)", &["12345678901234567890123456789012345.123456789012345678901234567890"]),
    ("DECIMAL(20, 0) UNSIGNED", &["18446744073709551615"]),
    ("DATE", &["'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2024-00-00'"]),
    ("DATETIME", &["'2024-02-29 12:34:56'", "'2024-02-29 00:00:00'", "'0000-00-00 00:00:00'"]),
    (
        "DATETIME(6)",
        &["'2024-02-29 12:34:56.000001'", "'2024-02-29 12:34:56.5'", "'2024-02-29 12:00:00'"],
    ),
    ("TIMESTAMP NULL", &["'2024-02-29 12:34:56'", "'1970-01-01 00:00:01'"]),
    ("TIMESTAMP(3) NULL", &["'2024-02-29 12:34:56.789'"]),
    ("TIME", &["'12:34:56'", "'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("TIME(6)", &["'12:34:56.000001'", "'-01:02:03.5'"]),
    ("UUID", &["'123e4567-e89b-42d3-a456-426614174000'"]),
];

/// Returns the value `v` of a row in a table with one column of the type, over the binary and the
/// text protocol.
async fn stored(
    db: &DatabaseConnection,
    kind: &str,
    value: &str,
) -> Vec<Result<AnyRow, sqlx::Error>> {
    let sql = format!(
        "SET sql_mode = ''; DROP TABLE IF EXISTS t; CREATE TABLE t (v {kind}); INSERT INTO t \
         VALUES ({value})"
    );
    let mut tx = db.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut tx)
        .await
        .unwrap_or_else(|error| panic!("{kind}: {error}"));
    tx.commit().await.unwrap();
    let sql = "SELECT v, CAST(v AS CHAR) AS t FROM t";
    vec![sqlx::query(sql).fetch_one(db).await, sqlx::raw_sql(sql).fetch_one(db).await]
}

/// Removes trailing zeros from the decimals.
fn trimmed(kind: &str, text: &str) -> String {
    let is_time = kind.starts_with("TIME") || kind.starts_with("DATE");
    if is_time && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

#[tokio::test]
async fn values_converted_to_text_are_what_the_server_writes() {
    for db in databases().await {
        let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&db).await.unwrap();
        for (kind, values) in AS_TEXT {
            if kind == "UUID" && !version.contains("MariaDB") {
                continue;
            }
            for value in values {
                for row in stored(&db, kind, value).await {
                    let row = row.unwrap_or_else(|error| panic!("{kind} {value}: {error}"));
                    let written: &str = row.get("t");
                    assert_eq!(row.get::<&str, _>("v"), trimmed(kind, written), "{kind} {value}");
                    assert_eq!(row.column("v").type_info().name(), "TEXT", "{kind}");
                }
            }
        }
    }
}

#[tokio::test]
async fn numbers_keep_their_value_unsigned_ones_too() {
    for db in databases().await {
        for (kind, values) in [
            ("TINYINT", &["-128", "127"][..]),
            ("TINYINT UNSIGNED", &["255"]),
            ("SMALLINT", &["-32768"]),
            ("SMALLINT UNSIGNED", &["65535"]),
            ("MEDIUMINT", &["-8388608"]),
            ("MEDIUMINT UNSIGNED", &["16777215"]),
            ("INT", &["-2147483648"]),
            ("INT UNSIGNED", &["4294967295", "4000000000"]),
            ("BIGINT", &["-9223372036854775808"]),
            ("BIGINT UNSIGNED", &["9223372036854775807"]),
            ("INT ZEROFILL", &["42"]),
            ("YEAR", &["2024", "1901"]),
            // Other values in a column that was declared as BOOLEAN.
            ("BOOLEAN", &["-5", "127"]),
            ("TINYINT(1) UNSIGNED", &["200"]),
        ] {
            for value in values {
                for row in stored(&db, kind, value).await {
                    let row = row.unwrap_or_else(|error| panic!("{kind} {value}: {error}"));
                    assert_eq!(row.get::<i64, _>("v").to_string(), *value, "{kind}");
                }
            }
        }
        for (value, number) in [("b'1'", 1), ("b'101'", 5), ("b'0'", 0)] {
            for row in stored(&db, "BIT(9)", value).await {
                assert_eq!(row.unwrap().get::<i64, _>("v"), number);
            }
        }
        for row in stored(&db, "FLOAT", "1.5").await {
            assert_eq!(row.unwrap().get::<f32, _>("v"), 1.5);
        }
        for row in stored(&db, "DOUBLE", "-1e300").await {
            assert_eq!(row.unwrap().get::<f64, _>("v"), -1e300);
        }
        for (value, flag) in [("TRUE", true), ("FALSE", false)] {
            for row in stored(&db, "BOOLEAN", value).await {
                assert_eq!(row.unwrap().get::<bool, _>("v"), flag);
            }
        }
    }
}

#[tokio::test]
async fn a_number_that_fits_no_type_is_an_error_that_names_the_column() {
    for db in databases().await {
        for (kind, value) in
            [("BIGINT UNSIGNED", "18446744073709551615"), ("BIT(64)", "0xffffffffffffffff")]
        {
            for row in stored(&db, kind, value).await {
                let error = row.err().unwrap();
                assert!(
                    matches!(&error, sqlx::Error::ColumnDecode { index, .. } if index == "v"),
                    "{kind}: {error}"
                );
                assert!(error.to_string().contains("CAST(column AS CHAR)"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn bytes_arrive_as_bytes() {
    for db in databases().await {
        for kind in ["BINARY(2)", "VARBINARY(9)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"] {
            for row in stored(&db, kind, "0x00ff").await {
                let row = row.unwrap_or_else(|error| panic!("{kind}: {error}"));
                assert_eq!(row.get::<Vec<u8>, _>("v"), [0, 255], "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn null_is_none_and_never_a_value() {
    for db in databases().await {
        for kind in [
            "BOOLEAN",
            "INT UNSIGNED",
            "DOUBLE",
            "DECIMAL(5, 2)",
            "DATE",
            "DATETIME",
            "TIME",
            "TEXT",
            "BLOB",
            "BIT(3)",
        ] {
            for row in stored(&db, kind, "NULL").await {
                let row = row.unwrap();
                assert_eq!(row.try_get::<Option<i64>, _>("v").unwrap(), None, "{kind}");
                assert_eq!(row.try_get::<Option<String>, _>("v").unwrap(), None, "{kind}");
                assert!(row.try_get::<String, _>("v").is_err(), "{kind}");
            }
        }
        let row = sqlx::query("SELECT NULL AS v").fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<Option<String>, _>("v"), None);
    }
}

#[tokio::test]
async fn every_argument_is_stored_with_its_own_type() {
    for db in databases().await {
        macro_rules! described {
            ($value:expr) => {{
                let ask = sqlx::query_scalar::<_, Option<String>>("SELECT CAST($1 AS CHAR)");
                ask.bind($value).fetch_one(&db).await.unwrap().unwrap_or_else(|| "NULL".to_owned())
            }};
        }
        for _ in 0..2 {
            assert_eq!(
                (described!(true), described!(-3_i16), described!(70_000_i32)),
                ("1".into(), "-3".into(), "70000".into())
            );
            assert_eq!(
                (described!(i64::MIN), described!(0.5_f32)),
                ("-9223372036854775808".into(), "0.5".into())
            );
            assert_eq!(
                (described!(0.1_f64), described!("it's"), described!(String::new())),
                ("0.1".into(), "it's".into(), String::new())
            );
            assert_eq!(
                (described!(None::<i64>), described!(None::<f64>), described!(None::<f32>)),
                ("NULL".into(), "NULL".into(), "NULL".into())
            );
            assert_eq!(
                (described!(None::<bool>), described!(None::<String>)),
                ("NULL".into(), "NULL".into())
            );
            assert_eq!(described!(None::<Vec<u8>>), "NULL");
        }
        let bytes: Vec<u8> = sqlx::query_scalar("SELECT CAST($1 AS BINARY)")
            .bind(vec![0_u8, 255])
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(bytes, [0, 255]);
    }
}

#[tokio::test]
async fn numbered_arguments_are_put_in_order_and_used_twice() {
    for db in databases().await {
        let sql = "SELECT CONCAT($2, '$1', $1, \"?\", $2) -- $3";
        let text: String =
            sqlx::query_scalar(sql).bind("one").bind("two").fetch_one(&db).await.unwrap();
        assert_eq!(text, "two$1one?two");
    }
}

#[tokio::test]
async fn the_key_of_an_added_row_is_reported_and_no_other() {
    for db in databases().await {
        sqlx::query("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
            .execute(&db)
            .await
            .unwrap();
        let outcome = async |sql: &'static str| {
            let result = sqlx::query(sql).execute(&db).await.unwrap();
            (result.rows_affected(), result.last_insert_id())
        };
        assert_eq!(outcome("INSERT INTO t (n) VALUES (1)").await, (1, Some(1)));
        assert_eq!(outcome("INSERT INTO t (n) VALUES (2), (3)").await, (2, Some(2)));
        assert_eq!(outcome("UPDATE t SET n = 5").await, (3, None));
        assert_eq!(outcome("SELECT * FROM t").await, (0, None));
        assert_eq!(outcome("DELETE FROM t").await, (3, None));
    }
}
