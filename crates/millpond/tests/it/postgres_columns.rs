//! Every type of PostgreSQL: the value as the server itself writes it, or an error that names the
//! column.

use crate::world::schema;
use millpond::DatabaseConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo};

/// A type, and values of it as SQL literals.
type Samples = (&'static str, &'static [&'static str]);

/// Types that become text. The expected text is what the server itself writes.
const AS_TEXT: [Samples; 28] = [
    ("text", &["", "it''s", "ünïcödé \t 字"]),
    ("varchar(10)", &["short"]),
    ("char(5)", &["ab", ""]),
    ("name", &["pg_class"]),
    ("\"char\"", &["x", ""]),
    ("json", &["{\"a\" : [1, null]}"]),
    ("jsonb", &["{\"b\" : [1, null], \"a\": 1e2}", "null"]),
    ("jsonpath", &["$.a[*] ? (@ > 2)"]),
    ("xml", &["<a>b</a>"]),
    ("citext", &["MiXed"]),
    ("mood", &["happy", "so so"]),
    ("short_text", &["a domain"]),
    ("refcursor", &["cursor"]),
    ("uuid", &["00000000-0000-0000-0000-000000000000", "12345678-9abc-def0-1234-56789abcdef0"]),
    (
        "numeric",
        &[
            "0",
            "-0.0",
            "1",
            "-1",
            "10000",
            "9999.9999",
            "0.00001",
            "0.0001",
            "100000000.00000001",
            "12345.678900",
            "-123456789012345678901234567890.123456789012345678901234567890",
            "1e100",
            "1e-100",
            "20000",
            "0.5000",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    ("numeric(10, 2)", &["10.25", "-0.01", "99999999.99", "0"]),
    (
        "date",
        &[
            "2024-02-29",
            "2000-01-01",
            "1999-12-31",
            "1970-01-01",
            "0001-01-01",
            "0001-12-31 BC",
            "4713-01-01 BC",
            "1900-03-01",
            "5874897-12-31",
            "infinity",
            "-infinity",
        ],
    ),
    ("time", &["00:00", "12:34:56", "12:34:56.789", "23:59:59.999999", "24:00", "01:02:03.000001"]),
    (
        "timetz",
        &["12:34:56+02", "12:34:56.5-05:30", "00:00:00+00", "01:00:00+15:59:59", "24:00:00-12"],
    ),
    (
        "timestamp",
        &[
            "2024-02-29 12:34:56",
            "1999-12-31 23:59:59.999999",
            "0044-03-15 12:00 BC",
            "294276-12-31 23:59:59.999999",
            "4713-11-24 00:00:00 BC",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &["2024-02-29 12:34:56.5+02", "0044-03-15 12:00:00+00 BC", "infinity", "-infinity"],
    ),
    (
        "interval",
        &[
            "0",
            "1 year",
            "-1 year",
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 mon +2 days",
            "-1 day +00:00:01",
            "1 day",
            "-2 days",
            "-00:00:00.000001",
            "1 mon -1 day +1 hour",
            "178000000 years",
            "100000:00:00",
            "-3 days -01:00",
        ],
    ),
    ("bit(3)", &["101"]),
    ("varbit", &["", "1", "101010101"]),
    ("inet", &["192.168.1.5", "10.0.0.1/8", "::1", "2001:db8::ff00:42:8329/64", "::ffff:1.2.3.4"]),
    ("cidr", &["10.0.0.0/8", "192.168.1.5", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
];

/// Types that are not supported in binary form.
const REFUSED: [Samples; 23] = [
    ("int[]", &["{1,2}"]),
    ("text[]", &["{a,\"b c\"}"]),
    ("mood[]", &["{happy}"]),
    ("numeric[]", &["{}"]),
    ("money", &["12.34"]),
    ("int4range", &["[1,5)"]),
    ("tstzrange", &["empty"]),
    ("point", &["(1,2)"]),
    ("box", &["(1,2),(3,4)"]),
    ("polygon", &["((1,2),(3,4))"]),
    ("circle", &["<(1,2),3>"]),
    ("line", &["{1,2,3}"]),
    ("lseg", &["[(1,2),(3,4)]"]),
    ("path", &["[(1,2),(3,4)]"]),
    ("pair", &["(1,x)"]),
    ("tsvector", &["a b"]),
    ("tsquery", &["a & b"]),
    ("pg_lsn", &["16/B374D848"]),
    ("regclass", &["pg_class"]),
    ("xid", &["7"]),
    ("tid", &["(0,1)"]),
    ("hstore", &["a=>1"]),
    ("\"UUID\"", &["not a uuid"]),
];

/// Creates a schema with user-defined types.
async fn types() -> Option<DatabaseConnection> {
    let db = schema().await?;
    let sql = "CREATE EXTENSION IF NOT EXISTS citext SCHEMA pg_catalog;
        CREATE EXTENSION IF NOT EXISTS hstore SCHEMA pg_catalog;
        CREATE TYPE mood AS ENUM ('happy', 'so so');
        CREATE DOMAIN short_text AS varchar(20);
        CREATE TYPE pair AS (a int, b text);
        CREATE TYPE \"UUID\" AS (a text)";
    // Two tests that create the extension at the same time would conflict.
    let mut tx = db.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(4711)").execute(&mut tx).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    Some(db)
}

/// Selects one row with the value `v` and its text `t`.
fn asks(kind: &str, value: &str) -> AssertSqlSafe<String> {
    let value = match kind {
        "\"UUID\"" => format!("row('{value}')::\"UUID\""),
        _ => format!("'{value}'::{kind}"),
    };
    AssertSqlSafe(format!("SELECT {value} AS v, format('%s', {value}) AS t"))
}

#[tokio::test]
async fn values_converted_to_text_are_what_the_server_writes() {
    let Some(db) = types().await else { return };
    for (kind, values) in AS_TEXT {
        for value in values {
            let row = sqlx::query(asks(kind, value))
                .fetch_one(&db)
                .await
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
            let (crossed, written) = (row.get::<&str, _>("v"), row.get::<&str, _>("t"));
            assert_eq!(crossed, written, "{kind} {value:?}");
            assert_eq!(row.column("v").type_info().name(), "TEXT", "{kind}");
        }
    }
}

#[tokio::test]
async fn an_unsupported_type_is_an_error_that_names_the_column_and_how_to_read_it() {
    let Some(db) = types().await else { return };
    for (kind, values) in REFUSED {
        let error = sqlx::query(asks(kind, values[0]))
            .fetch_one(&db)
            .await
            .err()
            .unwrap_or_else(|| panic!("{kind}"));
        assert!(
            matches!(&error, sqlx::Error::ColumnDecode { index, .. } if index == "v"),
            "{kind}: {error}"
        );
        assert!(error.to_string().contains("::text"), "{kind}: {error}");
    }
}

#[tokio::test]
async fn after_a_type_that_the_driver_cannot_look_up_the_connection_still_works() {
    let Some(db) = types().await else { return };
    let error = sqlx::query(asks("int4multirange", "{[1,5)}")).fetch_one(&db).await.err().unwrap();
    assert!(matches!(error, sqlx::Error::ColumnDecode { .. }), "{error}");
    assert_eq!(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&db).await.unwrap(), 1);
    let row =
        sqlx::query("SELECT '{[1,5)}'::int4multirange::text AS v").fetch_one(&db).await.unwrap();
    assert_eq!(row.get::<&str, _>("v"), "{[1,5)}");
}

#[tokio::test]
async fn raw_sql_returns_every_type_as_text() {
    let Some(db) = types().await else { return };
    for (kind, values) in AS_TEXT.into_iter().chain(REFUSED) {
        let row = sqlx::raw_sql(asks(kind, values[0]))
            .fetch_one(&db)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let (crossed, written) = (row.get::<&str, _>("v"), row.get::<&str, _>("t"));
        assert_eq!(crossed, written, "{kind}");
    }
}

/// Returns the row over the binary and over the text protocol.
async fn both(db: &DatabaseConnection, sql: &'static str) -> [AnyRow; 2] {
    [sqlx::query(sql).fetch_one(db).await.unwrap(), sqlx::raw_sql(sql).fetch_one(db).await.unwrap()]
}

#[tokio::test]
async fn numbers_booleans_and_bytes_keep_their_type() {
    let Some(db) = schema().await else { return };
    let sql = "SELECT true AS yes, false AS no, '-32768'::int2 AS small, 2147483647 AS whole,
        '-9223372036854775808'::int8 AS big, 4000000000::oid AS oid, 1.5::float4 AS real, \
        1e300::float8 AS double,
        'NaN'::float8 AS nan, '-Infinity'::float4 AS infinite, '\\x00ff'::bytea AS bytes, \
        ''::bytea AS none,
        pg_sleep(0) AS nothing";
    for row in both(&db, sql).await {
        assert_eq!((row.get::<bool, _>("yes"), row.get::<bool, _>("no")), (true, false));
        assert_eq!((row.get::<i16, _>("small"), row.get::<i32, _>("whole")), (i16::MIN, i32::MAX));
        assert_eq!((row.get::<i64, _>("big"), row.get::<i64, _>("oid")), (i64::MIN, 4_000_000_000));
        assert_eq!((row.get::<f32, _>("real"), row.get::<f64, _>("double")), (1.5, 1e300));
        assert!(row.get::<f64, _>("nan").is_nan() && row.get::<f32, _>("infinite").is_infinite());
        assert_eq!(
            (row.get::<Vec<u8>, _>("bytes"), row.get::<Vec<u8>, _>("none")),
            (vec![0, 255], vec![])
        );
        assert_eq!(row.get::<Option<String>, _>("nothing"), None);
    }
}

#[tokio::test]
async fn null_is_none_of_its_columns_kind_and_never_a_value() {
    let Some(db) = types().await else { return };
    for (kind, name) in [
        ("boolean", "BOOLEAN"),
        ("int2", "SMALLINT"),
        ("int4", "INTEGER"),
        ("int8", "BIGINT"),
        ("float4", "REAL"),
        ("float8", "DOUBLE"),
        ("bytea", "BLOB"),
        ("text", "TEXT"),
        ("numeric", "TEXT"),
        ("int[]", "TEXT"),
        ("pair", "TEXT"),
    ] {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT NULL::{kind} AS v")))
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(row.column("v").type_info().name(), name);
        assert_eq!(row.try_get::<Option<i64>, _>("v").unwrap(), None, "{kind}");
        assert_eq!(row.try_get::<Option<String>, _>("v").unwrap(), None, "{kind}");
        assert!(row.try_get::<String, _>("v").is_err(), "{kind}");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_the_requested_type_is_an_error_that_names_the_column() {
    let Some(db) = schema().await else { return };
    let row = sqlx::query("SELECT 70000 AS whole, 1.5::numeric AS price, true AS flag")
        .fetch_one(&db)
        .await
        .unwrap();
    for error in [
        row.try_get::<i16, _>("whole").unwrap_err(),
        row.try_get::<f64, _>("price").unwrap_err(),
        row.try_get::<i64, _>("flag").unwrap_err(),
    ] {
        assert!(matches!(&error, sqlx::Error::ColumnDecode { .. }), "{error}");
    }
}

#[tokio::test]
async fn every_argument_has_the_type_it_was_bound_with() {
    let Some(db) = schema().await else { return };
    macro_rules! described {
        ($value:expr) => {{
            let ask = sqlx::query_as::<_, (String, Option<String>)>(
                "SELECT pg_typeof($1)::text, $1::text",
            );
            let (kind, text) = ask.bind($value).fetch_one(&db).await.unwrap();
            format!("{kind} {}", text.unwrap_or_else(|| "NULL".to_owned()))
        }};
    }
    assert_eq!(described!(true), "boolean true");
    assert_eq!(described!(-3_i16), "smallint -3");
    assert_eq!(described!(70_000_i32), "integer 70000");
    assert_eq!(described!(i64::MIN), "bigint -9223372036854775808");
    assert_eq!(described!(0.5_f32), "real 0.5");
    assert_eq!(described!(0.1_f64), "double precision 0.1");
    assert_eq!(described!("it's"), "text it's");
    assert_eq!(described!(String::new()), "text ");
    assert_eq!(described!(vec![0_u8, 255]), "bytea \\x00ff");
    assert_eq!(described!(Some(5_i64)), "bigint 5");
    assert_eq!(described!(None::<bool>), "boolean NULL");
    assert_eq!(described!(None::<i16>), "smallint NULL");
    assert_eq!(described!(None::<i32>), "integer NULL");
    assert_eq!(described!(None::<i64>), "bigint NULL");
    assert_eq!(described!(None::<f32>), "real NULL");
    assert_eq!(described!(None::<f64>), "double precision NULL");
    assert_eq!(described!(None::<String>), "text NULL");
    assert_eq!(described!(None::<Vec<u8>>), "bytea NULL");
}

#[tokio::test]
async fn one_statement_with_arguments_of_several_types_gives_no_wrong_answer() {
    // sqlx alone would send the bits of 1.5 to a statement prepared for a bigint.
    let Some(db) = schema().await else { return };
    let mut lease = db.acquire().await.unwrap();
    let ask = || sqlx::query_scalar::<_, String>("SELECT $1::text");
    for _ in 0..2 {
        assert_eq!(ask().bind(7_i64).fetch_one(&mut lease).await.unwrap(), "7");
        assert_eq!(ask().bind(1.5_f64).fetch_one(&mut lease).await.unwrap(), "1.5");
        assert_eq!(ask().bind(7_i32).fetch_one(&mut lease).await.unwrap(), "7");
        assert_eq!(ask().bind("7").fetch_one(&mut lease).await.unwrap(), "7");
        assert_eq!(ask().bind(true).fetch_one(&mut lease).await.unwrap(), "true");
    }
}

#[tokio::test]
async fn null_and_then_a_value_work_in_the_same_statement() {
    let Some(db) = schema().await else { return };
    sqlx::query("CREATE TABLE t (d double precision, r real)").execute(&db).await.unwrap();
    let insert = || sqlx::query("INSERT INTO t VALUES ($1, $2)");
    for _ in 0..2 {
        insert().bind(None::<f64>).bind(None::<f32>).execute(&db).await.unwrap();
        insert().bind(1.5_f64).bind(2.5_f32).execute(&db).await.unwrap();
    }
    let rows = sqlx::query_as::<_, (f64, f32)>("SELECT d, r FROM t WHERE d IS NOT NULL")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(rows, [(1.5, 2.5); 2]);
}

#[tokio::test]
async fn a_text_argument_is_cast_for_a_column_of_another_type() {
    let Some(db) = schema().await else { return };
    sqlx::query("CREATE TABLE t (day date, id uuid, price numeric(10, 2), data jsonb)")
        .execute(&db)
        .await
        .unwrap();
    let insert = "INSERT INTO t VALUES ($1::date, $2::uuid, $3::numeric, $4::jsonb)";
    let id = "12345678-9abc-def0-1234-56789abcdef0";
    let query = sqlx::query(insert).bind("2024-02-29").bind(id).bind("10.25").bind("{\"a\": 1}");
    assert_eq!(query.execute(&db).await.unwrap().rows_affected(), 1);
    let row: (String, String, String, String) =
        sqlx::query_as("SELECT * FROM t").fetch_one(&db).await.unwrap();
    assert_eq!(row, ("2024-02-29".into(), id.into(), "10.25".into(), "{\"a\": 1}".into()));
}
