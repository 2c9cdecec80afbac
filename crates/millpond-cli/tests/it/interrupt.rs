//! After Ctrl-C or `TERM` the demo ends early, its counts add up, and its database is removed.
#![cfg(unix)]

use crate::run::{Ended, Sandbox};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// A duration in seconds that the tests never wait for. If the demo misses the signal, it runs this
/// long, and the test fails.
const LONG: &str = "30";

/// Starts a demo, and waits until it has printed `until`.
fn running(
    sandbox: &Sandbox,
    arguments: &[&str],
    until: &str,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = sandbox.millpond(&["demo", "--seconds"]);
    command.args(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(until) {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended by itself");
    }
    (child, out)
}

fn signal(child: &Child, name: &str) {
    let reported = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(reported.success());
}

fn ended(mut child: Child, mut out: impl Read) -> Ended {
    let mut stdout = String::new();
    out.read_to_string(&mut stdout).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ended { code: child.wait().unwrap().code(), stdout, stderr }
}

#[test]
fn after_ctrl_c_the_demo_ends_early_and_its_counts_add_up() {
    for name in ["-INT", "-TERM"] {
        let sandbox = Sandbox::new();
        let (child, out) = running(&sandbox, &[LONG], "Ctrl-C ends it early");
        signal(&child, name);
        let ended = ended(child, out);
        ended.assert_code(0);
        assert!(ended.stdout.contains("ended early"), "{ended:?}");
        assert!(ended.stdout.contains("The books balance."), "{ended:?}");
        assert_eq!((ended.stderr.as_str(), sandbox.leftovers().len()), ("", 0));
    }
}

#[test]
fn ctrl_c_during_the_incidents_leaves_no_files_behind() {
    let sandbox = Sandbox::new();
    let (child, out) = running(&sandbox, &["1"], "burst:");
    signal(&child, "-INT");
    let ended = ended(child, out);
    ended.assert_code(0);
    assert!(ended.stdout.contains("The books balance."), "{ended:?}");
    assert_eq!((ended.stderr.as_str(), sandbox.leftovers().len()), ("", 0));
}

#[test]
fn a_second_signal_ends_the_demo_at_once_and_removes_its_database() {
    let sandbox = Sandbox::new();
    let (child, out) = running(&sandbox, &[LONG], "Ctrl-C ends it early");
    // While the process is stopped both signals can be sent; two of the same kind would be merged.
    for name in ["-STOP", "-INT", "-TERM", "-CONT"] {
        signal(&child, name);
    }
    let ended = ended(child, out);
    // The demo may have ended before the second signal arrived.
    assert!(matches!(ended.code, Some(130 | 0)), "{ended:?}");
    assert_eq!(sandbox.leftovers().len(), 0);
}

#[tokio::test]
async fn counts_that_do_not_add_up_exit_with_1() {
    let sandbox = Sandbox::new();
    let (child, out) = running(&sandbox, &[LONG, "--file", "bank.db"], "Ctrl-C ends it early");
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(sandbox.path().join("bank.db"));
    let mut conn = sqlx::ConnectOptions::connect(&options).await.unwrap();
    // Another process adds money to an account as soon as the accounts exist.
    let started = std::time::Instant::now();
    while sqlx::query("UPDATE accounts SET money = money + 1 WHERE id = 7")
        .execute(&mut conn)
        .await
        .is_err()
    {
        assert!(started.elapsed().as_secs() < 20, "there is no bank");
    }
    // From now on every sum is too high, and while so many transfers are made many sums are read.
    let (mut first, mut last) = (None, 0);
    while last < first.unwrap_or(last) + 100 {
        assert!(started.elapsed().as_secs() < 20, "nothing is transferred");
        last = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM journal")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        first = first.or(Some(last));
    }
    signal(&child, "-INT");
    let ended = ended(child, out);
    ended.assert_code(1);
    assert!(
        ended.stdout.contains("sums were wrong")
            && ended.stdout.contains("The books do not balance"),
        "{ended:?}"
    );
}
