//! A login, and errors without its password.

use crate::error::RedisError;
use std::fmt;

/// An optional user and an optional password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// The length from which on a part of a password must not be shown.
const SECRET_PART: usize = 4;

impl Login {
    /// Returns an error of the server without the password and parts of it: Redis repeats commands
    /// that it does not understand.
    pub(crate) fn redact(&self, error: RedisError) -> RedisError {
        let (RedisError::Server { code, message }, Some(password)) = (&error, &self.password)
        else {
            return error;
        };
        let secret = password.as_bytes();
        let length = SECRET_PART.min(secret.len()).max(1);
        let is_shown = secret.windows(length).any(|part| {
            [code, message]
                .into_iter()
                .any(|text| text.as_bytes().windows(length).any(|shown| shown == part))
        });
        if !is_shown {
            return error;
        }
        let message = "AUTH was refused (the words of the server are left out, since they may \
            repeat the password)";
        let code = if code
            .as_bytes()
            .windows(length)
            .any(|shown| secret.windows(length).any(|part| shown == part))
        {
            "ERR".to_owned()
        } else {
            code.clone()
        };
        RedisError::Server { code, message: message.to_owned() }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("Login").field("user", &self.user).field("password", &password).finish()
    }
}
