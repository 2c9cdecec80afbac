//! LISTEN: a connection of its own, since notifications come when nobody has borrowed anything.

use crate::dialer::with_login;
use crate::error_class::without_password;
use crate::options::PgPoolOptions;
use crate::url::parse;
use millpond_core::Pooler;
use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgListener};

impl PgPoolOptions {
    /// Opens a listener for notifications, with the URL of a pool.
    ///
    /// It is sqlx's `PgListener`, on a connection of its own that counts under no cap, and opens
    /// that anew by itself when it is lost; what is notified meanwhile is lost too, so ask again
    /// for what was missed when `try_recv` returns `None`. Of these options the credentials count,
    /// as they are now, and `connect_timeout`.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL, and behind a transaction pooler;
    /// otherwise that of the connect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sqlx::Error> {
    /// use millpond_postgres::PgPoolOptions;
    ///
    /// let options = PgPoolOptions::new();
    /// let mut listener = options.listener("postgres://miller@localhost/ponds").await?;
    /// listener.listen("floods").await?;
    /// let notification = listener.recv().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listener(self, url: &str) -> Result<PgListener, Error> {
        self.listener_with(parse(url)?).await
    }

    /// Opens a listener for notifications, with sqlx's options.
    ///
    /// # Errors
    ///
    /// As [`listener`](Self::listener).
    ///
    /// # Cancel safety
    ///
    /// As [`listener`](Self::listener).
    pub async fn listener_with(self, options: PgConnectOptions) -> Result<PgListener, Error> {
        if self.pooler == Pooler::PgBouncer {
            let text = "behind a transaction pooler nothing can be listened to: give the listener \
                the URL of the server itself";
            return Err(Error::Configuration(text.into()));
        }
        let options = match &self.credentials {
            None => options,
            Some(credentials) => with_login(options, &credentials.current().await?),
        };
        // The listener knows no other way to open its connection anew.
        let source = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.settings.config.connect_timeout)
            .connect_lazy_with(options);
        PgListener::connect_with(&source).await.map_err(without_password)
    }
}
