//! Logging in, and keeping the password out of what is shown.

use crate::error::RedisError;
use std::fmt;

/// A user and a password, each of which may be missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// A part of a password of this length must not be seen in what a server says.
const SECRET_PART: usize = 4;

impl Login {
    /// An error of a server, or of something that stands before it, without the password and parts of it: Redis repeats what
    /// it did not understand.
    pub(crate) fn hidden_from(&self, error: RedisError) -> RedisError {
        let (RedisError::Server { code, message }, Some(password)) = (&error, &self.password) else { return error };
        let secret = password.as_bytes();
        let length = SECRET_PART.min(secret.len()).max(1);
        let is_told = secret.windows(length).any(|part| {
            [code, message].into_iter().any(|text| text.as_bytes().windows(length).any(|shown| shown == part))
        });
        if !is_told {
            return error;
        }
        let message = "AUTH was refused (the words of the server are left out, since they may repeat the password)";
        let code = if code.as_bytes().windows(length).any(|shown| secret.windows(length).any(|part| shown == part)) {
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
