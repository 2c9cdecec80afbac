//! Connection URLs, tested by the file that is created.

use crate::support::Dir;
use millpond_sqlite::SqlitePoolOptions;

async fn file_of(url: &str) -> Result<String, sqlx::Error> {
    let pool = SqlitePoolOptions::new().connect(url).await?;
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    sqlx::query_scalar(sql).fetch_one(&pool).await
}

fn refusal(url: &str) -> String {
    let error = SqlitePoolOptions::new().connect_lazy(url).unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    error.to_string()
}

/// Returns a path from the working directory to a file in `dir`.
fn relative(dir: &Dir, file: &str) -> String {
    let here = std::env::current_dir().unwrap();
    let up = "../".repeat(here.components().count() - 1);
    format!("{up}{}/{file}", dir.path().strip_prefix("/").unwrap().display())
}

#[tokio::test]
async fn three_slashes_are_relative_and_four_absolute() {
    let dir = Dir::new();
    let (absolute, relative) =
        (dir.path().join("x.db").display().to_string(), relative(&dir, "x.db"));
    for url in [
        format!("sqlite:///{absolute}"),
        format!("sqlite:///{relative}"),
        format!("sqlite:///./{relative}"),
        format!("sqlite+aiosqlite:///{relative}"),
        format!("sqlite+pysqlite:///{absolute}"),
        format!("sqlite://{relative}"),
        format!("sqlite:{absolute}"),
        format!("sqlite:{relative}?mode=rw"),
        format!("SQLite:///{absolute}?mode=ro"),
        format!("sqlite:///file:{absolute}?uri=true&mode=rw&cache=private"),
        format!("sqlite:///file://{absolute}?uri=true"),
    ] {
        assert_eq!(file_of(&url).await.unwrap(), absolute, "{url}");
    }
}

#[tokio::test]
async fn every_form_of_memory_is_in_memory() {
    for url in [
        "sqlite://",
        "sqlite:///?mode=memory",
        "sqlite::memory:",
        "sqlite:///:memory:",
        "sqlite://:memory:",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///x.db?mode=memory",
        "sqlite://?cache=private",
    ] {
        assert_eq!(file_of(url).await.unwrap(), "", "{url}");
    }
}

#[test]
fn unknown_parts_of_a_url_are_refused_by_name() {
    assert!(refusal("sqlite+rusqlite:///x.db").contains("\"rusqlite\""));
    assert!(refusal("sqlite:///x.db?sslmode=require").contains("\"sslmode\""));
    assert!(refusal("sqlite:///x.db?check_same_thread=false").contains("about Python"));
    assert!(refusal("sqlite:///x.db?mode=rx").contains("ro, rw, rwc or memory"));
    assert!(refusal("sqlite:///x.db?immutable=maybe").contains("true or false"));
    assert!(refusal("sqlite:///x.db?timeout=soon").contains("number of seconds"));
    assert!(refusal("sqlite:///x.db?timeout=-1").contains("number of seconds"));
    assert!(refusal("sqlite::memory:?cache=shared").contains("private"));
    assert!(refusal("postgres://localhost/x").contains("begins with sqlite:"));
    assert!(refusal("x.db").contains("begins with sqlite:"));
    assert!(refusal("sqlite://me:secret@host/x").contains("no user and no host"));
    assert!(!refusal("sqlite://me:secret@host/x").contains("secret"));
    assert!(refusal("sqlite:").contains("names no database"));
    for url in ["sqlite:///", "sqlite:///?mode=rw", "sqlite+aiosqlite:///"] {
        assert!(refusal(url).contains("names no file after sqlite:///"), "{url}");
    }
    assert!(refusal("sqlite:///x%00.db").contains("NUL"));
    assert!(refusal("sqlite:///x%ff.db").contains("UTF-8"));
}

#[tokio::test]
async fn a_missing_file_is_created_unless_the_mode_forbids_it() {
    let dir = Dir::new();
    for mode in ["?mode=ro", "?mode=rw"] {
        let error = file_of(&format!("{}{mode}", dir.url("new.db"))).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("14"), "{mode}");
    }
    file_of(&dir.url("new.db")).await.unwrap();
    assert!(dir.path().join("new.db").exists());
}

#[tokio::test]
async fn read_only_is_read_only() {
    let dir = Dir::new();
    file_of(&dir.url("x.db")).await.unwrap();
    let pool =
        SqlitePoolOptions::new().connect(&format!("{}?mode=ro", dir.url("x.db"))).await.unwrap();
    let error = sqlx::query("CREATE TABLE t (i)").execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("8"));
}

#[tokio::test]
async fn odd_names_are_taken_literally() {
    let dir = Dir::new();
    for (written, meant) in [
        ("with%20blank.db", "with blank.db"),
        ("question%3Fmode=memory.db", "question?mode=memory.db"),
        ("hundred%.db", "hundred%.db"),
        ("t%C3%BCmpel.db", "tümpel.db"),
        ("tümpel2.db", "tümpel2.db"),
    ] {
        let file = file_of(&dir.url(written)).await.unwrap();
        assert_eq!(file, dir.path().join(meant).display().to_string());
    }
}

#[tokio::test]
async fn the_timeout_limits_the_wait_for_a_lock() {
    let dir = Dir::new();
    let pool = SqlitePoolOptions::new()
        .connect(&format!("{}?timeout=1.5", dir.url("x.db")))
        .await
        .unwrap();
    let milliseconds: i64 =
        sqlx::query_scalar("PRAGMA busy_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(milliseconds, 1500);
}

#[test]
fn a_timeout_that_the_driver_cannot_take_is_refused() {
    for timeout in ["2147484", "1e300", "-1", "nan", "inf", "", "5s"] {
        let text = refusal(&format!("sqlite:///x.db?timeout={timeout}"));
        assert!(text.contains("\"timeout\" must be a number of seconds, at most"), "{text}");
    }
    SqlitePoolOptions::new().connect_lazy("sqlite:///x.db?timeout=2147483").unwrap();
}

#[test]
fn a_parameter_that_is_given_with_two_values_is_refused() {
    let text = refusal("sqlite:///x.db?mode=rwc&cache=private&mode=ro");
    assert!(text.contains("\"mode\" twice"), "{text}");
    SqlitePoolOptions::new().connect_lazy("sqlite:///x.db?mode=rwc&mode=rwc").unwrap();
}
