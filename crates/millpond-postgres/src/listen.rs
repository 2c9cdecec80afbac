//! LISTEN on a separate connection, since notifications arrive at any time.

use crate::dialer::{with_login, without_password};
use crate::options::PgPoolOptions;
use crate::server_info::own_port;
use crate::url::parse;
use millpond_core::Pooler;
use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgListener};

impl PgPoolOptions {
    /// Opens a listener for notifications, with the URL of a pool.
    ///
    /// It is sqlx's `PgListener` on a separate connection, which does not count against the pool's
    /// limit and is reopened when it is lost. Notifications in the meantime are lost: when
    /// `try_recv` returns `None`, query what was missed. Of these options only `connect_timeout`,
    /// `tcp_keepalive`, `tcp_user_timeout` and the current credentials apply. Where the server does
    /// not see the client's own port (behind NAT or a proxy), a connection that is reopened has the
    /// kernel's keepalive.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL, and behind a transaction pooler; the error of the
    /// connect.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
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
            let text = "LISTEN is not supported behind a transaction pooler: give the listener the \
                URL of the server itself";
            return Err(Error::Configuration(text.into()));
        }
        let options = match &self.credentials {
            None => options,
            Some(credentials) => with_login(options, &credentials.current().await?),
        };
        let (port, is_tcp) = (options.get_port(), options.get_socket().is_none());
        let tcp = self.settings.tcp_options();
        let reopened = tcp.clone();
        // The listener can reopen its connection only through a pool.
        let source = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.settings.config.connect_timeout)
            .after_connect(move |conn, _| {
                let tcp = reopened.clone();
                Box::pin(async move {
                    if is_tcp {
                        let own_port = own_port(conn).await?;
                        // The listener works without them, and no pool could report it.
                        let _unset = tcp.set_on_open(port, own_port).await;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        let connected = PgListener::connect_with(&source);
        let listener = if is_tcp {
            // Finds the socket even if the server does not see its port.
            tcp.connect(port, connected, |listener| Box::pin(own_port(listener)), |_unset| ()).await
        } else {
            connected.await
        };
        listener.map_err(without_password)
    }
}
