//! Credentials, read again for each new connection so that passwords can rotate.

use futures_core::future::BoxFuture;
use millpond_core::BoxError;
use millpond_url::without_line_end;
use sqlx::Error;
use std::env;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::spawn_blocking;

/// The largest file that is read as a password.
const FILE_MAX: u64 = 64 * 1024;

/// Where the password comes from, and the user if it changes too. It is read for every new
/// connection.
///
/// ```
/// use millpond_sqlx::Credentials;
///
/// let fixed = Credentials::password("secret");
/// let variable = Credentials::env("PONDS_PASSWORD");
/// let file = Credentials::file("/run/secrets/ponds");
/// let token = || async { Ok::<_, std::io::Error>("a token of the cloud".to_owned()) };
/// let token = Credentials::with(token);
/// ```
///
/// # Rotation
///
/// When a connection was opened with a new password from a file or a variable, or with another
/// user, older connections are retired without an error: idle ones are closed at once, those in use
/// on return. Passwords from a callback may differ every time, as tokens do, so they retire
/// nothing; call `invalidate_all` instead.
#[derive(Clone)]
pub struct Credentials(PasswordSource);

#[derive(Clone)]
enum PasswordSource {
    Fixed(Login),
    Variable(Arc<str>),
    File(Arc<Path>),
    Callback(Arc<Callback>),
}

type Callback = dyn Fn() -> BoxFuture<'static, Result<Login, BoxError>> + Send + Sync;

/// A password, and a user if it is not the one of the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `None` for the user of the URL or the options.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Uses a fixed password.
    pub fn password(password: impl Into<String>) -> Self {
        Self(PasswordSource::Fixed(password.into().into()))
    }

    /// Reads an environment variable; one line end at its end is removed.
    pub fn env(variable: impl Into<Arc<str>>) -> Self {
        Self(PasswordSource::Variable(variable.into()))
    }

    /// Reads a file of at most 64 KiB; one line end at its end (`\n`, `\r\n` or `\r`) is removed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(PasswordSource::File(path.into().into()))
    }

    /// Calls `callback` for each login, within `connect_timeout`. It returns a password, a user and
    /// a password, or a [`Login`]. Its errors count as transient: the pool retries until the
    /// caller's deadline.
    pub fn with<F, W, L, E>(callback: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Login>,
        E: Into<BoxError>,
    {
        let boxed = move || -> BoxFuture<'static, Result<Login, BoxError>> {
            let login = callback();
            Box::pin(async move { login.await.map(Into::into).map_err(Into::into) })
        };
        Self(PasswordSource::Callback(Arc::new(boxed)))
    }

    /// Reads the current login.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for a variable or a file that cannot be used, `Error::Io` for an
    /// error of a callback.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is that of the callback.
    pub async fn current(&self) -> Result<Login, Error> {
        match &self.0 {
            PasswordSource::Fixed(login) => Ok(login.clone()),
            PasswordSource::Variable(name) => from_variable(name),
            PasswordSource::File(path) => {
                let file = Arc::clone(path);
                // A slow file system must not block the pool's maintenance task.
                let read = spawn_blocking(move || read(&file)).await.map_err(io::Error::other);
                read.and_then(|read| read).map(Login::from).map_err(|error| {
                    unusable(format!(
                        "the password file {} cannot be used: {error}",
                        path.display()
                    ))
                })
            }
            PasswordSource::Callback(callback) => callback().await.map_err(|error| {
                Error::Io(io::Error::other(format!(
                    "the callback for the credentials failed: {error}"
                )))
            }),
        }
    }
}

fn from_variable(name: &str) -> Result<Login, Error> {
    // The error of `var` would show a value that is not UTF-8.
    match env::var(name) {
        Ok(password) => Ok(without_line_end(&password).to_owned().into()),
        Err(env::VarError::NotPresent) => {
            Err(unusable(format!("the variable {name} for the password is not set")))
        }
        Err(_) => Err(unusable(format!("the variable {name} for the password is not UTF-8"))),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > FILE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file of at most 64 \
            KiB",
        ));
    }
    let mut text = String::from_utf8(fs::read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))?;
    text.truncate(without_line_end(&text).len());
    Ok(text)
}

fn unusable(text: String) -> Error {
    Error::Configuration(text.into())
}

impl From<String> for Login {
    fn from(password: String) -> Self {
        Self { user: None, password }
    }
}

impl From<(String, String)> for Login {
    fn from((user, password): (String, String)) -> Self {
        Self { user: Some(user), password }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            PasswordSource::Fixed(_) => "Credentials::password(..)",
            PasswordSource::Variable(_) => "Credentials::env(..)",
            PasswordSource::File(_) => "Credentials::file(..)",
            PasswordSource::Callback(_) => "Credentials::with(..)",
        })
    }
}

/// Detects changed credentials. The pool's manager keeps one.
pub struct Rotation {
    credentials: Credentials,
    state: Mutex<Versions>,
}

/// Versions keep connects apart that end in another order than they began.
#[derive(Default)]
struct Versions {
    last: Option<Login>,
    /// How often the login that was read has changed.
    read: u64,
    /// The newest login with which a connection was opened.
    opened: Option<Versioned>,
}

/// A login and how new it is.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The login.
    pub login: Login,
    version: u64,
}

impl Rotation {
    /// Creates a detector that has seen no login yet.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, state: Mutex::default() }
    }

    /// Reads the login for a connection that is about to be opened.
    ///
    /// # Errors
    ///
    /// As [`Credentials::current`].
    ///
    /// # Cancel safety
    ///
    /// As [`Credentials::current`].
    pub async fn current(&self) -> Result<Versioned, Error> {
        let login = self.credentials.current().await?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.last.as_ref().is_some_and(|last| self.are_same(last, &login)) {
            state.read = state.read.saturating_add(1);
            state.last = Some(login.clone());
        }
        Ok(Versioned { login, version: state.read })
    }

    /// Records that a connection was opened with this login. Returns true if older connections must
    /// be retired.
    #[must_use]
    pub fn opened(&self, with: &Versioned) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.opened {
            // Same login as the newest one seen, read again by a slower connect: not a rotation.
            Some(opened) if self.are_same(&opened.login, &with.login) => {
                opened.version = opened.version.max(with.version);
                false
            }
            Some(opened) if opened.version > with.version => false,
            opened => opened.replace(with.clone()).is_some(),
        }
    }

    fn are_same(&self, one: &Login, other: &Login) -> bool {
        let tokens = matches!(self.credentials.0, PasswordSource::Callback(_));
        one.user == other.user && (tokens || one.password == other.password)
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rotation").field(&self.credentials).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    fn scratch(name: &str) -> PathBuf {
        env::temp_dir().join(format!("millpond-credentials-{}-{name}", std::process::id()))
    }

    #[test]
    fn only_one_line_break_at_the_end_of_a_password_is_removed() {
        for (text, password) in [
            ("pw", "pw"),
            ("pw\n", "pw"),
            ("pw\r\n", "pw"),
            ("pw\r", "pw"),
            (" pw \n", " pw "),
            ("pw\n\n", "pw\n"),
        ] {
            assert_eq!(without_line_end(text), password, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_again_every_time_without_its_last_line_break() {
        let path = scratch("file");
        let credentials = Credentials::file(&path);
        for (content, password) in
            [("a", "a"), ("b\n", "b"), ("c\r\n", "c"), (" d \n\n", " d \n"), ("", "")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(now(credentials.current()).unwrap().password, password);
        }
        fs::write(&path, b"Tr0ub4dor\xff").unwrap();
        let error = now(credentials.current()).unwrap_err().to_string();
        assert!(error.contains("not UTF-8") && !error.contains("Tr0ub4dor"), "{error}");
        fs::remove_file(&path).unwrap();
        let error = now(credentials.current()).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        let error = now(Credentials::file(env::temp_dir()).current()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_variable_that_is_missing_is_named() {
        assert!(!now(Credentials::env("PATH").current()).unwrap().password.is_empty());
        let error = now(Credentials::env("MILLPOND_NO_SUCH").current()).unwrap_err();
        assert!(
            matches!(error, Error::Configuration(_))
                && error.to_string().contains("MILLPOND_NO_SUCH"),
            "{error}"
        );
    }

    #[test]
    fn nothing_shows_a_password() {
        let login = Login::from(("miller".to_owned(), "Tr0ub4dor".to_owned()));
        let shown = format!("{login:?} {:?}", Rotation::new(Credentials::password("Tr0ub4dor")));
        assert!(shown.contains("miller") && !shown.contains("Tr0ub4dor"), "{shown}");
    }

    #[test]
    fn a_changed_password_file_retires_older_connections_once() {
        let path = scratch("rotation");
        fs::write(&path, "first").unwrap();
        let rotation = Rotation::new(Credentials::file(&path));
        let first = now(rotation.current()).unwrap();
        assert!(!rotation.opened(&first) && !rotation.opened(&first));
        fs::write(&path, "second").unwrap();
        let second = now(rotation.current()).unwrap();
        assert!(rotation.opened(&second));
        assert!(
            !rotation.opened(&first),
            "a late one of the first must not retire those of the second"
        );
        assert!(!rotation.opened(&now(rotation.current()).unwrap()));
        for content in ["first", "second"] {
            fs::write(&path, content).unwrap();
            let read = now(rotation.current()).unwrap();
            assert!(
                content == "first" || !rotation.opened(&read),
                "what was read late and did not work"
            );
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn changing_tokens_retire_no_connections_and_another_user_does() {
        let calls = AtomicU32::new(0);
        let callback = move || {
            let n = calls.fetch_add(1, Ordering::Relaxed);
            let user = if n < 2 { "first" } else { "second" };
            async move { Ok::<_, io::Error>((user.to_owned(), format!("token {n}"))) }
        };
        let rotation = Rotation::new(Credentials::with(callback));
        let opened: Vec<_> =
            (0..4).map(|_| rotation.opened(&now(rotation.current()).unwrap())).collect();
        assert_eq!(opened, [false, false, true, false]);
    }

    #[test]
    fn the_error_of_a_callback_is_reported_and_transient() {
        let credentials = Credentials::with(|| async { Err::<String, _>("the cloud is away") });
        let error = now(credentials.current()).unwrap_err();
        assert!(
            matches!(error, Error::Io(_)) && error.to_string().contains("the cloud is away"),
            "{error}"
        );
    }
}
