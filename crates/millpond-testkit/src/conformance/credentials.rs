//! Passwords: every printable character works, a changed password retires the old connections, and
//! no password is ever printed.

use crate::conformance::fixture::Fixture;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, join, refused};
use millpond_core::{PoolError, PoolExt};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, process};

/// The next connect reads the new password; connections opened with the old one are closed when
/// they are returned.
pub async fn b12_a_password_changed_in_its_file_retires_old_connections_without_an_error<
    T: Trial,
>(
    stage: Stage<T>,
) {
    set_password(&*stage.fixture, "millpond_file", "first").await;
    let file =
        Scratch(env::temp_dir().join(format!("millpond-{}-{}", process::id(), fastrand::u64(..))));
    file.write("first\n");
    let service = stage.service(|plan| {
        plan.url = with_user(&plan.url, "millpond_file");
        (plan.config.pool_size, plan.config.max_overflow) = (3, 3);
        plan.password_file = Some(file.0.clone());
    });
    let done = Arc::new(AtomicBool::new(false));
    // No more than these are used with the first password: a connection beyond `pool_size` would be
    // closed as overflow when it is returned, not as outdated.
    drop(service.leases(3).await);
    let users: Vec<_> =
        (0..2).map(|_| tokio::spawn(ask_until(service.clone(), Arc::clone(&done)))).collect();
    let held = service.lease().await;

    set_password(&*stage.fixture, "millpond_file", "second").await;
    file.write("second\n");
    let mut leases = Vec::new();
    while service.pool.status().generation == 0 {
        leases.push(service.lease().await);
    }
    drop((leases, held));
    let lines = service.trace.lines();
    let before = lines.iter().take_while(|line| !line.starts_with("invalidated"));
    let old = before.filter(|line| line.starts_with("connected")).count();
    service
        .until("the old ones are retired", || service.trace.count("closed invalidated") >= old)
        .await;
    done.store(true, Ordering::Relaxed);
    for user in users {
        assert!(join(user).await > 0);
    }
    assert_eq!(service.pool.status().generation, 1, "retired once");
}

/// A password of all printable characters works, percent-encoded in the URL.
pub async fn b12_a_password_of_every_printable_character_is_accepted<T: Trial>(stage: Stage<T>) {
    let password: String = (b' '..=b'~').map(char::from).collect();
    set_password(&*stage.fixture, "millpond_printable", &password).await;
    let escaped: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let service = stage
        .service(|plan| plan.url = with_user(&plan.url, &format!("millpond_printable:{escaped}")));
    assert!(matches!(service.ask(12).await, Ok(12)));
}

/// The password appears neither in the error and its sources nor in any `Debug` output.
pub async fn b12_a_wrong_password_fails_at_once_and_is_shown_nowhere<T: Trial>(stage: Stage<T>) {
    set_password(&*stage.fixture, "millpond_wrong", "right").await;
    let service = stage.service(|plan| plan.url = with_user(&plan.url, "millpond_wrong:Tr0ub4dor"));
    let error = refused(service.pool.acquire().await);
    assert!(matches!(error, PoolError::Connect { attempts: 1, .. }), "{error}");
    assert_eq!(service.trace.count("connect failed"), 1, "nothing was tried twice");
    let mut shown = format!("{:?} {:?}", service.pool.status(), service.trace.events());
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        shown += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(!shown.contains("Tr0ub4dor"), "{shown}");
}

async fn ask_until<F: Fixture>(service: Service<F>, done: Arc<AtomicBool>) -> u32 {
    let mut answers = 0;
    while !done.load(Ordering::Relaxed) {
        let answer = service.ask(1).await;
        assert!(matches!(answer, Ok(1)), "{answer:?}");
        answers += 1;
    }
    answers
}

async fn set_password<F: Fixture>(fixture: &F, user: &str, password: &str) {
    if let Err(error) = fixture.set_password(user, password).await {
        panic!("the server takes no password for {user}: {error}");
    }
}

/// Returns the URL with this user, or `user:password`, instead of its own.
fn with_user(url: &str, user: &str) -> String {
    let (scheme, target) = url.split_once("://").unwrap_or(("", url));
    let target = target.rsplit_once('@').map_or(target, |(_, target)| target);
    format!("{scheme}://{user}@{target}")
}

/// A file that is deleted on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn write(&self, content: &str) {
        if let Err(error) = fs::write(&self.0, content) {
            panic!("{}: {error}", self.0.display());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: the file is no longer read.
        let _ = fs::remove_file(&self.0);
    }
}
